import {sdkScenarios} from '../lib/sdk-scenarios.mjs'

sdkScenarios('v3', {comesBack: 'reconnected'})
