import {sdkScenarios} from '../lib/sdk-scenarios.mjs'

sdkScenarios('hono8', {comesBack: 'connected'})
