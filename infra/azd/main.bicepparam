// Values of the azd environment: `azd env set NAME VALUE`. Lists are separated by commas; blanks around them are no part of a value.
// Whatever else main.bicep takes is set here, as in ../params.
using 'main.bicep'

import { listed } from '../modules/names.bicep'

param environmentName = readEnvironmentVariable('AZURE_ENV_NAME')

param location = readEnvironmentVariable('AZURE_LOCATION')

param rules = loadJsonContent('../params/dev.rules.json')

// Their ids, or JSON with all that is said of them: [{"resourceId": "…", "hierarchical": false}]
var watched = readEnvironmentVariable('WATCHED_ACCOUNTS')

param watchedAccounts = json(startsWith(watched, '[') ? watched : string(map(listed(watched), id => { resourceId: id })))

param workspaceResourceIds = listed(readEnvironmentVariable('WORKSPACES'))

param outputAccountResourceIds = listed(readEnvironmentVariable('OUTPUT_ACCOUNTS', ''))

param dataAccess = {
  computePrincipalIds: listed(readEnvironmentVariable('COMPUTE_PRINCIPALS', ''))
}
