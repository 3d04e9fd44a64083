// An event subscription of one watched account: which events, where to, how often, and what becomes of the rest.
// Deployed into the topic's resource group.
//
// There are two: one for blobs that were created, and for accounts with a hierarchical namespace one for new names. An event
// about a new name has no length, and a folder's has no suffix and ends above the prefixes of rules, so that filters on
// these would stop it.
//
// The filter is made of the rules that the handler gets, and lets through at least what they want: Event Grid compares
// without regard to case, prefixes and suffixes are any of their lists, and lists that do not fit fall back to wider
// ones. What comes in beyond is skipped by the handler and recorded with the reason.

import { begunApis, completeApis, renameEvents } from 'contract.bicep'
import { rulesFile } from 'types.bicep'

@description('Name of the system topic.')
param topicName string

@description('Name of the subscription.')
@minLength(3)
@maxLength(64)
param name string

@description('Name of the storage account behind the topic, in lower case.')
param accountName string

@description('The rules, as the handler gets them.')
param rules rulesFile

@description('Containers whose events are all let through: rules that are not here may want them.')
param containers string[]

@description('Whether it is the subscription for new names.')
param renames bool

@description('ARM id of the function that is called; empty: the queue is used.')
param functionResourceId string

@description('Most events of one push to the function.')
param maxEventsPerBatch int

@description('About how large a push may be.')
param preferredBatchSizeInKilobytes int

@description('ARM id of the state account.')
param stateAccountResourceId string

@description('Name of the queue.')
param queueName string

@description('Name of the container for dead letters.')
param deadLetterContainer string

@description('ARM id of the Log Analytics workspace that failed deliveries are told to; empty: none.')
param platformLogs string

// Event Grid takes 25 values in all filters of a subscription, of 512 characters each.
var mostPrefixes = 12
var mostSuffixes = 6
var mostLength = 512

var root = '/blobServices/default/containers/'
var ours = filter(rules.rules, rule => !contains(rule.match, 'account') || toLower(rule.match.account) == accountName)
var unseen = !empty(containers)
var prefixes = union(map(containers, container => '${root}${container}/blobs/'), map(ours, rule => take('${root}${rule.match.container}/blobs/${rule.match.?prefix ?? ''}', mostLength)))
var wholeContainers = union(map(containers, container => '${root}${container}/blobs/'), map(ours, rule => '${root}${rule.match.container}/blobs/'))
var suffixes = union(unseen ? [''] : [], map(ours, rule => rule.match.?suffix ?? ''))
var subjectPrefixes = length(prefixes) <= mostPrefixes ? prefixes : (length(wholeContainers) <= mostPrefixes ? wholeContainers : [root])
var subjectSuffixes = contains(suffixes, '') || length(suffixes) > mostSuffixes ? [] : suffixes
var unclosedWanted = unseen || !empty(filter(ours, rule => (rule.?complete ?? 'closed') != 'closed'))
// No filter on the length: where content comes after its event, as with a copy, one of no bytes is the only one.
var createdFilters = concat(
  [
    {
      operatorType: 'StringIn'
      key: 'data.api'
      values: unclosedWanted ? concat(completeApis, begunApis) : completeApis
    }
    {
      operatorType: 'StringBeginsWith'
      key: 'subject'
      values: subjectPrefixes
    }
  ],
  empty(subjectSuffixes)
    ? []
    : [
        {
          operatorType: 'StringEndsWith'
          key: 'subject'
          values: subjectSuffixes
        }
      ]
)
var renameFilters = [
  {
    operatorType: 'StringBeginsWith'
    key: 'subject'
    values: length(wholeContainers) <= mostPrefixes ? wholeContainers : [root]
  }
]

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' existing = {
  name: topicName
}

var toFunction = {
  // The platform calls the function with a key of its own; nobody handles it.
  destination: {
    endpointType: 'AzureFunction'
    properties: {
      resourceId: functionResourceId
      maxEventsPerBatch: maxEventsPerBatch
      preferredBatchSizeInKilobytes: preferredBatchSizeInKilobytes
    }
  }
}
var toQueue = {
  deliveryWithResourceIdentity: {
    identity: {
      type: 'SystemAssigned'
    }
    destination: {
      endpointType: 'StorageQueue'
      properties: {
        resourceId: stateAccountResourceId
        queueName: queueName
        // For ever: an app that is down for weeks loses nothing.
        queueMessageTimeToLiveInSeconds: -1
      }
    }
  }
}

resource subscription 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = if (unseen || !empty(ours)) {
  parent: topic
  name: name
  properties: {
    ...(empty(functionResourceId) ? toQueue : toFunction)
    eventDeliverySchema: 'EventGridSchema'
    filter: {
      includedEventTypes: renames ? renameEvents : ['Microsoft.Storage.BlobCreated']
      advancedFilters: renames ? renameFilters : createdFilters
    }
    // The longest that Event Grid tries: a day.
    retryPolicy: {
      maxDeliveryAttempts: 30
      eventTimeToLiveInMinutes: 1440
    }
    deadLetterWithResourceIdentity: {
      identity: {
        type: 'SystemAssigned'
      }
      deadLetterDestination: {
        endpointType: 'StorageBlob'
        properties: {
          resourceId: stateAccountResourceId
          blobContainerName: deadLetterContainer
        }
      }
    }
  }
}

// Of the topic, which takes one for each workspace (bicep-registry-modules 3407): another installation with the same one writes the same.
#disable-next-line use-recent-api-versions // it is the newest; the linter would have the stable one of 2016
resource failures 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (!renames && !empty(platformLogs)) {
  scope: topic
  name: 'scorekeeper-${uniqueString(platformLogs)}'
  properties: {
    workspaceId: platformLogs
    logs: [
      {
        category: 'DeliveryFailures'
        enabled: true
      }
    ]
  }
}
