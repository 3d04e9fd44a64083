// What azd deploys: a resource group, and stage 1 in it.
targetScope = 'subscription'

import { rulesFile } from '../modules/types.bicep'

@description('Name of the azd environment; a tag, and part of the names.')
@minLength(2)
@maxLength(12)
param environmentName string

@description('Region; it must offer Flex Consumption.')
param location string

@description('Name of the resource group to create.')
param resourceGroupName string = 'rg-scorekeeper-${environmentName}'

@description('The rules.')
param rules rulesFile

@description('ARM ids of the storage accounts whose blobs are scored.')
@minLength(1)
param watchedAccountResourceIds string[]

@description('ARM ids of the machine learning workspaces whose endpoints the rules name.')
@minLength(1)
param workspaceResourceIds string[]

@description('ARM ids of the storage accounts behind the datastores that outputs go to.')
param outputAccountResourceIds string[]

@description('Object ids of the compute clusters\' identities, which read inputs too.')
param computePrincipalIds string[]

var tags = {
  'azd-env-name': environmentName
}

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: resourceGroupName
  location: location
  tags: tags
}

module scorekeeper '../main.bicep' = {
  // deploy.sh asks for this deployment by its name.
  name: 'scorekeeper'
  scope: group
  params: {
    environmentName: environmentName
    location: location
    tags: tags
    app: {
      tags: {
        'azd-service-name': 'scorekeeper'
      }
    }
    rules: rules
    watchedAccounts: map(watchedAccountResourceIds, id => {
      resourceId: id
    })
    workspaceResourceIds: workspaceResourceIds
    outputAccountResourceIds: outputAccountResourceIds
    dataAccess: {
      computePrincipalIds: computePrincipalIds
    }
  }
}

@description('Name of the resource group.')
output AZURE_RESOURCE_GROUP string = group.name

@description('Name of the function app.')
output AZURE_FUNCTION_APP_NAME string = scorekeeper.outputs.functionAppName

@description('Where the ledger is.')
output SCOREKEEPER_LEDGER_URL string = scorekeeper.outputs.ledgerUrl
