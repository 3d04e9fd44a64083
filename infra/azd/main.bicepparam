// Values of the azd environment: `azd env set NAME VALUE`. Lists are separated by commas; blanks around them are no part of a value.
using 'main.bicep'

import { listed } from '../modules/names.bicep'

param environmentName = readEnvironmentVariable('AZURE_ENV_NAME')

param location = readEnvironmentVariable('AZURE_LOCATION')

param rules = loadJsonContent('../params/dev.rules.json')

param watchedAccountResourceIds = listed(readEnvironmentVariable('WATCHED_ACCOUNTS'))

param workspaceResourceIds = listed(readEnvironmentVariable('WORKSPACES'))

param outputAccountResourceIds = listed(readEnvironmentVariable('OUTPUT_ACCOUNTS', ''))

param computePrincipalIds = listed(readEnvironmentVariable('COMPUTE_PRINCIPALS', ''))
