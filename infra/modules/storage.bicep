// The state account: the host's storage, the deployed package, the ledger, dead letters, and the queues of queue
// delivery. It holds no customer data. No account key works on it.

import { networkOptions, privateDnsZones, stateOptions } from 'types.bicep'
import { roles } from 'roles.bicep'
import { containers, queues, tableSuffixes } from 'contract.bicep'

@description('Name of the account.')
@minLength(3)
@maxLength(24)
param name string

@description('Region.')
param location string

@description('Tags.')
param tags object

@description('Redundancy, retention, lock.')
param options stateOptions

@description('Prefix of the ledger\'s tables.')
param taskHub string

@description('Object id of the app\'s identity.')
param principalId string

@description('Whether events come through a queue.')
param queueDelivery bool

@description('Private endpoints; left out: the account has a public endpoint.')
param network networkOptions

@description('ARM id of the Log Analytics workspace that platform logs go to; empty: they are not kept.')
param platformLogs string

var closed = !empty(network.?privateEndpointSubnetResourceId)
var zones privateDnsZones = network.?privateDnsZoneResourceIds ?? {}
var endpointGroups = concat(['blob', 'table'], queueDelivery ? ['queue'] : [])

resource account 'Microsoft.Storage/storageAccounts@2025-06-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: options.?sku ?? 'Standard_LRS'
  }
  properties: {
    accessTier: 'Hot'
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: closed ? 'Disabled' : 'Enabled'
    networkAcls: {
      // Event Grid writes dead letters and queue messages as a trusted service.
      bypass: 'AzureServices'
      defaultAction: closed ? 'Deny' : 'Allow'
    }
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2025-06-01' = {
  parent: account
  name: 'default'
  properties: {
    // Blobs are not kept: the host rewrites its timer's and its leases' each minute, and each would be kept for as long.
    deleteRetentionPolicy: {
      enabled: false
    }
    containerDeleteRetentionPolicy: {
      enabled: true
      days: options.?softDeleteDays ?? 14
    }
  }
}

resource blobContainers 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-06-01' = [
  for container in items(containers): {
    parent: blobs
    name: container.value
    properties: {
      publicAccess: 'None'
    }
  }
]

resource lifecycle 'Microsoft.Storage/storageAccounts/managementPolicies@2025-06-01' = {
  parent: account
  name: 'default'
  properties: {
    policy: {
      rules: [
        {
          name: 'dead-letters'
          enabled: true
          type: 'Lifecycle'
          definition: {
            filters: {
              blobTypes: ['blockBlob']
              prefixMatch: ['${containers.deadLetters}/']
            }
            actions: {
              baseBlob: {
                delete: {
                  daysAfterModificationGreaterThan: options.?deadLetterRetentionDays ?? 90
                }
              }
            }
          }
        }
      ]
    }
  }
}

resource tableService 'Microsoft.Storage/storageAccounts/tableServices@2025-06-01' = {
  parent: account
  name: 'default'
}

// The handler would create them too. Declared, they are there before it starts, and what-if shows them.
resource tables 'Microsoft.Storage/storageAccounts/tableServices/tables@2025-06-01' = [
  for suffix in tableSuffixes: {
    parent: tableService
    name: '${taskHub}${suffix}'
  }
]

resource queueService 'Microsoft.Storage/storageAccounts/queueServices@2025-06-01' = {
  parent: account
  name: 'default'
}

resource eventQueues 'Microsoft.Storage/storageAccounts/queueServices/queues@2025-06-01' = [
  for queue in items(queues): if (queueDelivery) {
    parent: queueService
    name: queue.value
  }
]

resource hostStorage 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: account
  name: guid(account.id, principalId, roles.storageBlobDataOwner)
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageBlobDataOwner)
    description: 'Function app on the state account: the Functions host keeps leases, timer state, function keys and the package there; it creates its containers itself'
  }
}

resource ledger 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: account
  name: guid(account.id, principalId, roles.storageTableDataContributor)
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageTableDataContributor)
    description: 'Function app on the state account: the ledger, and the diagnostic events that the Functions host writes to a table of its own'
  }
}

resource queueReading 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (queueDelivery) {
  scope: account
  name: guid(account.id, principalId, roles.storageQueueDataContributor)
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageQueueDataContributor)
    description: 'Function app on the state account: queue delivery only; takes events from the queue and moves what fails for a day to the poison queue'
  }
}

resource deletionLock 'Microsoft.Authorization/locks@2020-05-01' = if (options.?lock ?? false) {
  scope: account
  name: '${name}-keep'
  properties: {
    level: 'CanNotDelete'
    notes: 'The ledger of Scorekeeper: without it every blob version would be scored again.'
  }
}

// Who took something away. Writes are not kept: there are ten for each scoring, and the ledger has a history of its own.
var deletions = {
  workspaceId: platformLogs
  logs: [
    {
      category: 'StorageDelete'
      enabled: true
    }
  ]
}

#disable-next-line use-recent-api-versions // it is the newest; the linter would have the stable one of 2016
resource blobDeletions 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (!empty(platformLogs)) {
  scope: blobs
  name: 'scorekeeper'
  properties: deletions
}

#disable-next-line use-recent-api-versions // it is the newest; the linter would have the stable one of 2016
resource tableDeletions 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (!empty(platformLogs)) {
  scope: tableService
  name: 'scorekeeper'
  properties: deletions
}

module privateEndpoints 'private-endpoint.bicep' = [
  for group in endpointGroups: if (closed) {
    params: {
      name: take('pe-${name}-${group}', 64)
      location: location
      tags: tags
      subnetResourceId: network.?privateEndpointSubnetResourceId ?? ''
      targetResourceId: account.id
      group: group
      privateDnsZoneResourceId: zones[?group] ?? ''
    }
  }
]

@description('ARM id of the account.')
output resourceId string = account.id

@description('Name of the account.')
output name string = account.name

@description('Blob endpoint, with a closing slash.')
output blobEndpoint string = account.properties.primaryEndpoints.blob

@description('Queue endpoint.')
output queueEndpoint string = account.properties.primaryEndpoints.queue

@description('Table endpoint.')
output tableEndpoint string = account.properties.primaryEndpoints.table
