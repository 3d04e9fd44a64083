// Stage 2: the event subscriptions. Event Grid refuses a subscription to a function that is not there, so this is
// deployed after the code. Its parameters are an output of stage 1 (`events`), so that filters and handler go by the
// same rules. With queue delivery stage 1 deploys it itself, and there is no second stage.
import { firstStage, rulesFile } from 'modules/types.bicep'
import { containers, functions, queues } from 'modules/contract.bicep'

@description('What stage 1 has made.')
param installation firstStage

@description('The rules, as the handler gets them.')
param rules rulesFile

var functionAppName = installation.functionAppName
var watchedAccounts = installation.watchedAccounts
var queueDelivery = installation.deliveryMode == 'storageQueue'
// Modules in groups of others have names of this installation: another one may deploy into that group, too, at the same time.
var unique = uniqueString(resourceGroup().id, functionAppName)
// Another name for each mode: while one is exchanged for the other both exist, so that no event falls between them.
// A long name is cut, and what tells two installations apart may be at its end.
var shortName = length(functionAppName) <= 46 ? functionAppName : '${take(functionAppName, 32)}-${unique}'
var subscriptionName = '${shortName}-${queueDelivery ? 'queue' : 'function'}'
var renameSubscriptionName = '${subscriptionName}-renames'
// The resource group of an account's topic is the account's, unless a topic is given.
var topicPlaces = map(watchedAccounts, account => split(account.?systemTopicResourceId ?? account.resourceId, '/'))

resource stateAccount 'Microsoft.Storage/storageAccounts@2025-06-01' existing = {
  name: installation.stateAccountName
}

module topics 'modules/topic-of-account.bicep' = [
  for (account, index) in watchedAccounts: {
    name: '${take('topic-${toLower(last(split(account.resourceId, '/')))}-${functionAppName}', 50)}-${unique}'
    scope: resourceGroup(split(account.resourceId, '/')[2], split(account.resourceId, '/')[4])
    params: {
      accountName: toLower(last(split(account.resourceId, '/')))
      existingTopicResourceId: account.?systemTopicResourceId ?? ''
      unique: unique
    }
  }
]

module topicAccess 'modules/topic-access.bicep' = [
  for (account, index) in watchedAccounts: {
    params: {
      stateAccountName: installation.stateAccountName
      principalId: topics[index].outputs.principalId
      queueDelivery: queueDelivery
    }
  }
]

module subscriptions 'modules/subscription.bicep' = [
  for (account, index) in watchedAccounts: {
    name: '${take('events-${toLower(last(split(account.resourceId, '/')))}-${functionAppName}', 50)}-${unique}'
    scope: resourceGroup(topicPlaces[index][2], topicPlaces[index][4])
    params: {
      topicName: last(split(topics[index].outputs.resourceId, '/'))
      name: subscriptionName
      accountName: toLower(last(split(account.resourceId, '/')))
      rules: rules
      containers: account.?containers ?? []
      renames: false
      functionResourceId: queueDelivery ? '' : resourceId('Microsoft.Web/sites/functions', functionAppName, functions.event)
      maxEventsPerBatch: installation.pushes.events
      preferredBatchSizeInKilobytes: installation.pushes.kilobytes
      stateAccountResourceId: stateAccount.id
      queueName: queues.events
      deadLetterContainer: containers.deadLetters
      platformLogs: installation.platformLogs
    }
    // Without its rights the topic could not keep what it fails to deliver.
    dependsOn: [topicAccess[index]]
  }
]

module renameSubscriptions 'modules/subscription.bicep' = [
  for (account, index) in watchedAccounts: if (account.?hierarchical ?? true) {
    name: '${take('renames-${toLower(last(split(account.resourceId, '/')))}-${functionAppName}', 50)}-${unique}'
    scope: resourceGroup(topicPlaces[index][2], topicPlaces[index][4])
    params: {
      topicName: last(split(topics[index].outputs.resourceId, '/'))
      name: renameSubscriptionName
      accountName: toLower(last(split(account.resourceId, '/')))
      rules: rules
      containers: account.?containers ?? []
      renames: true
      functionResourceId: queueDelivery ? '' : resourceId('Microsoft.Web/sites/functions', functionAppName, functions.event)
      maxEventsPerBatch: installation.pushes.events
      preferredBatchSizeInKilobytes: installation.pushes.kilobytes
      stateAccountResourceId: stateAccount.id
      queueName: queues.events
      deadLetterContainer: containers.deadLetters
      platformLogs: installation.platformLogs
    }
    // Without its rights the topic could not keep what it fails to deliver.
    dependsOn: [topicAccess[index]]
  }
]

module topicAlerts 'modules/topic-alerts.bicep' = [
  for (account, index) in watchedAccounts: if (installation.alerts) {
    params: {
      appName: functionAppName
      accountName: toLower(last(split(account.resourceId, '/')))
      tags: installation.tags
      topicResourceId: topics[index].outputs.resourceId
      subscriptionNames: [subscriptionName, renameSubscriptionName]
      actionGroupResourceIds: installation.actionGroupResourceIds
      runbookUrl: installation.runbookUrl
    }
  }
]

@description('ARM ids of the system topics, in the order of the watched accounts.')
output topicResourceIds string[] = [for (account, index) in watchedAccounts: topics[index].outputs.resourceId]

@description('Name of the event subscription on each of them.')
output subscriptionName string = subscriptionName

@description('Name of the event subscription for new names on each of those that have one.')
output renameSubscriptionName string = renameSubscriptionName
