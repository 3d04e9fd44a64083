// What azd deploys: a resource group, and stage 1 in it. It takes what main.bicep takes, and hands it on.
targetScope = 'subscription'

import { appOptions, dataAccessOptions, deliveryOptions, existingResources, monitoringOptions, networkOptions, resourceNames, rulesFile, stateOptions, watchedAccount } from '../modules/types.bicep'

@description('Begins the names of all resources. Lower-case letters and digits.')
@minLength(2)
@maxLength(12)
param workload string = 'scorekeeper'

@description('Name of the azd environment; a tag, and part of the names.')
@minLength(2)
@maxLength(12)
param environmentName string

@description('Region; it must offer Flex Consumption.')
param location string

@description('Name of the resource group to create.')
param resourceGroupName string = 'rg-scorekeeper-${environmentName}'

@description('Tags of everything that is made here, beside azd\'s own.')
param tags object = {}

@description('Names of single resources, where the made ones do not suit.')
param names resourceNames = {}

@description('The rules.')
param rules rulesFile

@description('Storage accounts whose blobs are scored.')
@minLength(1)
param watchedAccounts watchedAccount[]

@description('ARM ids of the storage accounts behind the datastores that outputs go to.')
param outputAccountResourceIds string[] = []

@description('ARM ids of the machine learning workspaces whose endpoints the rules name.')
@minLength(1)
param workspaceResourceIds string[]

@description('How the app gets its rights on the workspaces.')
param mlAccess ('dataScientist' | 'custom' | 'none') = 'dataScientist'

@description('Who gives the rights to read blobs, and to whom.')
param dataAccess dataAccessOptions = {}

@description('How events reach the app.')
param delivery deliveryOptions = {}

@description('What others have made already and is used instead of something new.')
param existing existingResources = {}

@description('How app and state account are reached.')
param network networkOptions = {}

@description('Logs, alerts and the workbook.')
param monitoring monitoringOptions = {}

@description('The state account.')
param state stateOptions = {}

@description('The function app.')
param app appOptions = {}

var allTags = { ...tags, 'azd-env-name': environmentName }

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: resourceGroupName
  location: location
  tags: allTags
}

module scorekeeper '../main.bicep' = {
  // deploy.sh asks for this deployment by its name.
  name: 'scorekeeper'
  scope: group
  params: {
    workload: workload
    environmentName: environmentName
    location: location
    tags: allTags
    names: names
    rules: rules
    watchedAccounts: watchedAccounts
    outputAccountResourceIds: outputAccountResourceIds
    workspaceResourceIds: workspaceResourceIds
    mlAccess: mlAccess
    dataAccess: dataAccess
    delivery: delivery
    existing: existing
    network: network
    monitoring: monitoring
    state: state
    // azd finds the app by this tag.
    app: { ...app, tags: { ...(app.?tags ?? {}), 'azd-service-name': 'scorekeeper' } }
  }
}

@description('Name of the resource group.')
output AZURE_RESOURCE_GROUP string = group.name

@description('Name of the function app.')
output AZURE_FUNCTION_APP_NAME string = scorekeeper.outputs.functionAppName

@description('Where the ledger is.')
output SCOREKEEPER_LEDGER_URL string = scorekeeper.outputs.ledgerUrl
