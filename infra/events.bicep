// Stage 2: the event subscriptions. Event Grid refuses a subscription to a function that is not there, so this is
// deployed after the code. Its parameters are an output of stage 1 (`events`), so that filters and handler go by the
// same rules. With queue delivery stage 1 deploys it itself, and there is no second stage.
targetScope = 'resourceGroup'

import { rulesFile, watchedAccount } from 'modules/types.bicep'
import { containers, functions, queues } from 'modules/contract.bicep'

@description('Name of the function app.')
param functionAppName string

@description('Name of the state account.')
param stateAccountName string

@description('The rules, as the handler gets them.')
param rules rulesFile

@description('Storage accounts whose blobs are scored.')
param watchedAccounts watchedAccount[]

@description('How events reach the app.')
@allowed(['eventGrid', 'storageQueue'])
param deliveryMode string

@description('Deliveries of one event before it is dead-lettered.')
@minValue(1)
@maxValue(30)
param maxDeliveryAttempts int

@description('Minutes after which an undelivered event is dead-lettered.')
@minValue(1)
@maxValue(1440)
param eventTimeToLiveInMinutes int

@description('Whether alerts are made.')
param enableAlerts bool

@description('ARM ids of the action groups that are told.')
param actionGroupResourceIds string[]

@description('Where the runbook of an alert is; its name follows as an anchor.')
param runbookUrl string

@description('Tags of everything that is made here.')
param tags object

var queueDelivery = deliveryMode == 'storageQueue'
// Another name for each mode: while one is exchanged for the other both exist, so that no event falls between them.
var subscriptionName = '${take(functionAppName, 54)}-${queueDelivery ? 'queue' : 'function'}'
// The resource group of an account's topic is the account's, unless a topic is given.
var topicPlaces = map(watchedAccounts, account => split(account.?systemTopicResourceId ?? account.resourceId, '/'))

resource stateAccount 'Microsoft.Storage/storageAccounts@2025-06-01' existing = {
  name: stateAccountName
}

module topics 'modules/topic-of-account.bicep' = [
  for (account, index) in watchedAccounts: {
    name: take('topic-${last(split(account.resourceId, '/'))}-${functionAppName}', 64)
    scope: resourceGroup(split(account.resourceId, '/')[2], split(account.resourceId, '/')[4])
    params: {
      accountName: last(split(account.resourceId, '/'))
      existingTopicResourceId: account.?systemTopicResourceId ?? ''
      tags: tags
    }
  }
]

module topicAccess 'modules/topic-access.bicep' = [
  for (account, index) in watchedAccounts: {
    name: take('grant-${last(split(account.resourceId, '/'))}-${functionAppName}', 64)
    params: {
      stateAccountName: stateAccountName
      principalId: topics[index].outputs.principalId
      queueDelivery: queueDelivery
    }
  }
]

module subscriptions 'modules/subscription.bicep' = [
  for (account, index) in watchedAccounts: {
    name: take('events-${last(split(account.resourceId, '/'))}-${functionAppName}', 64)
    scope: resourceGroup(topicPlaces[index][2], topicPlaces[index][4])
    params: {
      topicName: last(split(topics[index].outputs.resourceId, '/'))
      name: subscriptionName
      accountName: last(split(account.resourceId, '/'))
      rules: rules
      functionResourceId: queueDelivery ? '' : resourceId('Microsoft.Web/sites/functions', functionAppName, functions.event)
      stateAccountResourceId: stateAccount.id
      queueName: queues.events
      deadLetterContainer: containers.deadLetters
      maxDeliveryAttempts: maxDeliveryAttempts
      eventTimeToLiveInMinutes: eventTimeToLiveInMinutes
    }
    // Without its rights the topic could not keep what it fails to deliver.
    dependsOn: [topicAccess[index]]
  }
]

module topicAlerts 'modules/topic-alerts.bicep' = [
  for (account, index) in watchedAccounts: if (enableAlerts) {
    name: take('alerts-${last(split(account.resourceId, '/'))}-${functionAppName}', 64)
    params: {
      appName: functionAppName
      accountName: last(split(account.resourceId, '/'))
      tags: tags
      topicResourceId: topics[index].outputs.resourceId
      subscriptionName: subscriptionName
      actionGroupResourceIds: actionGroupResourceIds
      runbookUrl: runbookUrl
    }
  }
]

@description('ARM ids of the system topics, in the order of the watched accounts.')
output topicResourceIds string[] = [for (account, index) in watchedAccounts: topics[index].outputs.resourceId]

@description('Name of the event subscription on each of them.')
output subscriptionName string = subscriptionName
