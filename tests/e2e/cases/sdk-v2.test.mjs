import {sdkScenarios} from '../lib/sdk-scenarios.mjs'

sdkScenarios('v2', {comesBack: 'connected'})
