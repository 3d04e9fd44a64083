// Stage 1: everything but the event subscriptions to the function (events.bicep, after the code). With queue delivery
// it is the only stage.
//
// Order: identity, then storage and monitoring with its roles, then rights on workspaces and data, then the app, so that
// its first start finds its roles; then alerts and the workbook.
targetScope = 'resourceGroup'

import { alwaysReadyGroup, privateDnsZones, resourceNames, rulesFile, watchedAccount } from 'modules/types.bicep'
import { containers, functions, queues } from 'modules/contract.bicep'

@description('Begins the names of all resources. Lower-case letters and digits, a letter first.')
@minLength(2)
@maxLength(12)
param workload string = 'scorekeeper'

@description('Environment; part of the names.')
@minLength(2)
@maxLength(12)
param environmentName string = 'dev'

@description('Region; it must offer Flex Consumption.')
param location string = resourceGroup().location

@description('Tags of everything that is made here.')
param tags object = {}

@description('Names of single resources, where the made ones do not suit.')
param names resourceNames = {}

@description('The rules, from the file that is reviewed: `loadJsonContent(\'rules.json\')`. The handler gets them as a setting, the event subscriptions get filters made of them.')
param rules rulesFile

@description('Storage accounts whose blobs are scored.')
@minLength(1)
param watchedAccounts watchedAccount[]

@description('ARM ids of further storage accounts that the app must read: those of the datastores that outputs go to.')
param outputAccountResourceIds string[] = []

@description('ARM ids of the machine learning workspaces whose endpoints the rules name.')
@minLength(1)
param workspaceResourceIds string[]

@description('How the app gets its rights on the workspaces: the built-in role, a custom role of the least that is needed, or from somebody else.')
@allowed(['dataScientist', 'custom', 'none'])
param mlAccess string = 'dataScientist'

@description('Whether the rights to read blobs are given here. Off where another team gives them.')
param assignDataAccess bool = true

@description('Object ids of the compute clusters\' identities, which read inputs too.')
param computePrincipalIds string[] = []

@description('ARM id of a user-assigned identity to use; empty: one is created.')
param existingIdentityResourceId string = ''

@description('ARM id of a Log Analytics workspace to use; empty: one is created.')
param existingLogAnalyticsResourceId string = ''

@description('How events reach the app: pushed by Event Grid (a second stage), or through a storage queue (private networks, one stage).')
@allowed(['eventGrid', 'storageQueue'])
param deliveryMode string = 'eventGrid'

@description('Deliveries of one event before it is dead-lettered.')
@minValue(1)
@maxValue(30)
param maxDeliveryAttempts int = 30

@description('Minutes after which an undelivered event is dead-lettered.')
@minValue(1)
@maxValue(1440)
param eventTimeToLiveInMinutes int = 1440

@description('When the app looks at everything in flight: six fields, UTC.')
param reconcileSchedule string = '0 * * * * *'

@description('Prefix of the ledger\'s tables. Another one is another ledger: every blob version would be scored again.')
@minLength(3)
@maxLength(45)
param taskHub string = 'Scorekeeper'

@description('How long finished scorings are kept; ISO 8601, at least P8D.')
param retention string = 'P30D'

@description('How often the workspaces\' jobs are looked through for jobs that no scoring knows; ISO 8601 from PT1S to PT6H, or off.')
param orphanScanInterval string = 'PT10M'

@description('Whether the tables in the shape of Durable Functions are written.')
@allowed(['on', 'off'])
param projection string = 'on'

@description('Most invocations at once in one instance.')
@minValue(1)
@maxValue(1024)
param concurrency int = 64

@description('Log filter, as the Rust crate tracing has it.')
param log string = 'info'

@description('Functions that are switched off. Events wait in Event Grid for a day, in the queue for ever; without the timer nothing is looked at.')
param disabledFunctions ('BlobCreated' | 'BlobCreatedFromQueue' | 'Reconcile')[] = []

@description('Further application settings by name.')
param extraAppSettings object = {}

@description('Memory of an instance in megabytes.')
@allowed([512, 2048, 4096])
param instanceMemoryMB int = 512

@description('Most instances.')
@minValue(1)
@maxValue(1000)
param maximumInstanceCount int = 40

@description('Instances that are kept warm.')
param alwaysReady alwaysReadyGroup[] = []

@description('Redundancy of the state account.')
@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GRS', 'Standard_GZRS'])
param storageSku string = 'Standard_LRS'

@description('Days for which deleted blobs and containers of the state account can be brought back.')
@minValue(1)
@maxValue(365)
param softDeleteDays int = 14

@description('Days after which a dead letter is deleted.')
@minValue(7)
@maxValue(3650)
param deadLetterRetentionDays int = 90

@description('Days for which the created Log Analytics workspace keeps logs.')
@minValue(30)
@maxValue(730)
param logRetentionInDays int = 30

@description('Most gigabytes that the created Log Analytics workspace takes in a day; -1: no cap.')
param dailyQuotaGb int = 5

@description('Whether alerts are made.')
param enableAlerts bool = true

@description('Mail addresses that alerts go to.')
param alertEmails string[] = []

@description('ARM ids of further action groups that alerts go to.')
param actionGroupResourceIds string[] = []

@description('Where the runbooks are; an alert\'s name follows as an anchor.')
param runbookUrl string = 'https://github.com/scorekeeper/scorekeeper/blob/main/infra/README.md'

@description('Whether the workbook is made.')
param enableWorkbook bool = true

@description('ARM id of the subnet for outbound traffic, delegated to Microsoft.App/environments; empty: none.')
param integrationSubnetResourceId string = ''

@description('ARM id of the subnet for private endpoints of the state account and the app; empty: public endpoints. With it the state account is closed to the internet.')
param privateEndpointSubnetResourceId string = ''

@description('Private DNS zones for these endpoints.')
param privateDnsZoneResourceIds privateDnsZones = {}

@description('Whether the app can be reached from the internet. Event Grid can push only if it can.')
@allowed(['Enabled', 'Disabled'])
param publicNetworkAccess string = 'Enabled'

@description('Address ranges that may call the app, for example 203.0.113.0/24; empty: all. Event Grid may always.')
param allowedIpRanges string[] = []

@description('Whether the state account is locked against deletion.')
param lock bool = false

@description('Tags of the function app alone; azd finds it by one.')
param functionAppTags object = {}

var stem = '${workload}-${environmentName}'
var hash = uniqueString(resourceGroup().id, workload, environmentName)
var functionAppName = names.?functionApp ?? 'func-${stem}-${take(hash, 6)}'
var queueDelivery = deliveryMode == 'storageQueue'
var private = !empty(privateEndpointSubnetResourceId)

// What cannot work is refused here, and not by an app that never gets an event.
var checkedPublicNetworkAccess = !queueDelivery && publicNetworkAccess == 'Disabled' ? fail('Event Grid cannot push to an app without public network access: set deliveryMode to storageQueue') : publicNetworkAccess
var checkedSubnet = private && empty(integrationSubnetResourceId) ? fail('the state account is closed to the internet: set integrationSubnetResourceId, so that the app can reach it') : integrationSubnetResourceId

// The function of the other delivery mode is off: it would ask for a queue that is not there.
var unused = queueDelivery ? functions.event : functions.queue
var off = union(disabledFunctions, [unused])
var disabled = toObject(off, name => 'AzureWebJobs_${name}_Disabled', name => 'true')

var watchedIds = map(watchedAccounts, account => toLower(account.resourceId))
var readIds = union(watchedIds, map(outputAccountResourceIds, id => toLower(id)))

module identity 'modules/identity.bicep' = {
  name: take('identity-${functionAppName}', 64)
  params: {
    name: names.?identity ?? 'id-${stem}-${take(hash, 6)}'
    location: location
    tags: tags
    existingResourceId: existingIdentityResourceId
  }
}

module storage 'modules/storage.bicep' = {
  name: take('storage-${functionAppName}', 64)
  params: {
    name: names.?storageAccount ?? take('st${take(toLower('${workload}${environmentName}'), 12)}${hash}', 24)
    location: location
    tags: tags
    sku: storageSku
    taskHub: taskHub
    principalId: identity.outputs.principalId
    queueDelivery: queueDelivery
    deadLetterRetentionDays: deadLetterRetentionDays
    softDeleteDays: softDeleteDays
    privateEndpointSubnetResourceId: privateEndpointSubnetResourceId
    privateDnsZoneResourceIds: privateDnsZoneResourceIds
    lock: lock
  }
}

module monitoring 'modules/monitoring.bicep' = {
  name: take('monitoring-${functionAppName}', 64)
  params: {
    name: names.?applicationInsights ?? 'appi-${stem}-${take(hash, 6)}'
    workspaceName: names.?logAnalytics ?? 'log-${stem}-${take(hash, 6)}'
    location: location
    tags: tags
    existingWorkspaceResourceId: existingLogAnalyticsResourceId
    retentionInDays: logRetentionInDays
    dailyQuotaGb: dailyQuotaGb
    principalId: identity.outputs.principalId
  }
}

module workspaceAccess 'modules/ml-access.bicep' = [
  for id in workspaceResourceIds: if (mlAccess != 'none') {
    name: take('ml-${last(split(id, '/'))}-${functionAppName}', 64)
    scope: resourceGroup(split(id, '/')[2], split(id, '/')[4])
    params: {
      workspaceName: last(split(id, '/'))
      access: mlAccess == 'custom' ? 'custom' : 'dataScientist'
      suffix: '${stem}-${uniqueString(resourceGroup().id, id)}'
      principalId: identity.outputs.principalId
    }
  }
]

module dataAccess 'modules/data-access.bicep' = [
  for id in readIds: if (assignDataAccess) {
    name: take('data-${last(split(id, '/'))}-${functionAppName}', 64)
    scope: resourceGroup(split(id, '/')[2], split(id, '/')[4])
    params: {
      accountName: last(split(id, '/'))
      principalId: identity.outputs.principalId
      computePrincipalIds: contains(watchedIds, id) ? computePrincipalIds : []
    }
  }
]

module app 'modules/function.bicep' = {
  name: take('app-${functionAppName}', 64)
  params: {
    name: functionAppName
    planName: names.?plan ?? 'plan-${stem}-${take(hash, 6)}'
    location: location
    tags: tags
    siteTags: functionAppTags
    identityResourceId: identity.outputs.resourceId
    deploymentContainerUrl: '${storage.outputs.blobEndpoint}${containers.deployments}'
    settings: union(extraAppSettings, disabled, {
      APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identity.outputs.clientId};Authorization=AAD'
      APPLICATIONINSIGHTS_CONNECTION_STRING: monitoring.outputs.ingestion
      AZURE_CLIENT_ID: identity.outputs.clientId
      AzureWebJobsStorage__blobServiceUri: storage.outputs.blobEndpoint
      AzureWebJobsStorage__clientId: identity.outputs.clientId
      AzureWebJobsStorage__credential: 'managedidentity'
      AzureWebJobsStorage__queueServiceUri: storage.outputs.queueEndpoint
      AzureWebJobsStorage__tableServiceUri: storage.outputs.tableEndpoint
      RECONCILE_SCHEDULE: reconcileSchedule
      SCOREKEEPER_ORPHAN_SCAN_INTERVAL: orphanScanInterval
      SCOREKEEPER_CONCURRENCY: string(concurrency)
      SCOREKEEPER_TASK_HUB: taskHub
      SCOREKEEPER_LOG: log
      SCOREKEEPER_PROJECTION: projection
      SCOREKEEPER_RESOURCE_MANAGER: environment().resourceManager
      SCOREKEEPER_RETENTION: retention
      SCOREKEEPER_RULES: string(rules)
    })
    instanceMemoryMB: instanceMemoryMB
    maximumInstanceCount: maximumInstanceCount
    alwaysReady: alwaysReady
    integrationSubnetResourceId: checkedSubnet
    publicNetworkAccess: checkedPublicNetworkAccess
    allowedIpRanges: allowedIpRanges
    privateEndpointSubnetResourceId: privateEndpointSubnetResourceId
    privateDnsZoneResourceId: privateDnsZoneResourceIds.?sites ?? ''
  }
  // Nothing of theirs is used above, and yet the first start needs them.
  dependsOn: [workspaceAccess, dataAccess]
}

module actionGroup 'modules/action-group.bicep' = if (enableAlerts && !empty(alertEmails)) {
  name: take('mail-${functionAppName}', 64)
  params: {
    name: 'ag-${stem}'
    tags: tags
    emails: alertEmails
  }
}

var actionGroups = concat(actionGroupResourceIds, enableAlerts && !empty(alertEmails) ? [resourceId('Microsoft.Insights/actionGroups', 'ag-${stem}')] : [])

module alerts 'modules/alerts.bicep' = if (enableAlerts) {
  name: take('alerts-${functionAppName}', 64)
  params: {
    appName: functionAppName
    location: location
    tags: tags
    applicationInsightsResourceId: monitoring.outputs.resourceId
    queueDelivery: queueDelivery
    actionGroupResourceIds: actionGroups
    runbookUrl: runbookUrl
  }
  dependsOn: [actionGroup]
}

module workbook 'modules/workbook.bicep' = if (enableWorkbook) {
  name: take('workbook-${functionAppName}', 64)
  params: {
    displayName: 'Scorekeeper ${stem}'
    location: location
    tags: tags
    applicationInsightsResourceId: monitoring.outputs.resourceId
  }
}

module events 'events.bicep' = if (queueDelivery) {
  name: take('events-${functionAppName}', 64)
  params: {
    functionAppName: functionAppName
    stateAccountName: storage.outputs.name
    rules: rules
    watchedAccounts: watchedAccounts
    deliveryMode: deliveryMode
    maxDeliveryAttempts: maxDeliveryAttempts
    eventTimeToLiveInMinutes: eventTimeToLiveInMinutes
    enableAlerts: enableAlerts
    actionGroupResourceIds: actionGroups
    runbookUrl: runbookUrl
    tags: tags
  }
  dependsOn: [actionGroup]
}

@description('Name of the function app.')
output functionAppName string = app.outputs.name

@description('ARM id of the function app.')
output functionAppResourceId string = app.outputs.resourceId

@description('Host name of the function app.')
output functionAppHostName string = app.outputs.hostName

@description('ARM id of the app\'s identity.')
output identityResourceId string = identity.outputs.resourceId

@description('Client id of the app\'s identity.')
output identityClientId string = identity.outputs.clientId

@description('Object id of the app\'s identity: whom others give roles to.')
output identityPrincipalId string = identity.outputs.principalId

@description('Name of the state account.')
output stateAccountName string = storage.outputs.name

@description('Where the ledger is: `scorekeeper status --ledger URL --task-hub NAME`.')
output ledgerUrl string = storage.outputs.tableEndpoint

@description('Prefix of the ledger\'s tables.')
output taskHub string = taskHub

@description('Name of the queue that events come through; empty without queue delivery.')
output eventQueueName string = queueDelivery ? queues.events : ''

@description('Name of the Application Insights component.')
output applicationInsightsName string = monitoring.outputs.name

@description('ARM id of the Log Analytics workspace.')
output logAnalyticsResourceId string = monitoring.outputs.workspaceResourceId

@description('ARM id of the workbook; empty if there is none.')
output workbookResourceId string = enableWorkbook ? workbook!.outputs.resourceId : ''

@description('Parameters of stage 2, as a parameters file.')
output events object = {
  contentVersion: '1.0.0.0'
  parameters: {
    functionAppName: {
      value: app.outputs.name
    }
    stateAccountName: {
      value: storage.outputs.name
    }
    rules: {
      value: rules
    }
    watchedAccounts: {
      value: watchedAccounts
    }
    deliveryMode: {
      value: deliveryMode
    }
    maxDeliveryAttempts: {
      value: maxDeliveryAttempts
    }
    eventTimeToLiveInMinutes: {
      value: eventTimeToLiveInMinutes
    }
    enableAlerts: {
      value: enableAlerts
    }
    actionGroupResourceIds: {
      value: actionGroups
    }
    runbookUrl: {
      value: runbookUrl
    }
    tags: {
      value: tags
    }
  }
}
