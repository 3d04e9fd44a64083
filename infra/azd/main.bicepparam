// Values of the azd environment: `azd env set NAME VALUE`. Lists are separated by commas.
using 'main.bicep'

param environmentName = readEnvironmentVariable('AZURE_ENV_NAME')

param location = readEnvironmentVariable('AZURE_LOCATION')

param rules = loadJsonContent('../params/dev.rules.json')

param watchedAccountResourceIds = split(readEnvironmentVariable('WATCHED_ACCOUNTS'), ',')

param workspaceResourceIds = split(readEnvironmentVariable('WORKSPACES'), ',')

param outputAccountResourceIds = empty(readEnvironmentVariable('OUTPUT_ACCOUNTS', '')) ? [] : split(readEnvironmentVariable('OUTPUT_ACCOUNTS', ''), ',')

param computePrincipalIds = empty(readEnvironmentVariable('COMPUTE_PRINCIPALS', '')) ? [] : split(readEnvironmentVariable('COMPUTE_PRINCIPALS', ''), ',')
