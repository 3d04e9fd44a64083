// What a topic's identity may do on the state account. It must be in force before the subscription is made.

import { roles } from 'roles.bicep'
import { containers, queues } from 'contract.bicep'

@description('Name of the state account.')
param stateAccountName string

@description('Object id of the topic\'s identity.')
param principalId string

@description('Whether events come through a queue.')
param queueDelivery bool

resource account 'Microsoft.Storage/storageAccounts@2025-06-01' existing = {
  name: stateAccountName
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2025-06-01' existing = {
  parent: account
  name: 'default'
}

resource deadLetters 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-06-01' existing = {
  parent: blobs
  name: containers.deadLetters
}

resource queueService 'Microsoft.Storage/storageAccounts/queueServices@2025-06-01' existing = {
  parent: account
  name: 'default'
}

resource queue 'Microsoft.Storage/storageAccounts/queueServices/queues@2025-06-01' existing = {
  parent: queueService
  name: queues.events
}

resource deadLettering 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: deadLetters
  name: guid(deadLetters.id, principalId, roles.storageBlobDataContributor)
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageBlobDataContributor)
    description: 'Event Grid topic on the container for dead letters: writes events that could not be delivered'
  }
}

resource sending 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (queueDelivery) {
  scope: queue
  name: guid(queue.id, principalId, roles.storageQueueDataMessageSender)
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageQueueDataMessageSender)
    description: 'Event Grid topic on the queue for events: queue delivery only; puts events into the queue'
  }
}
