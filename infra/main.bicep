// Stage 1: all but the event subscriptions to the function (events.bicep, after the code); with queue delivery the only one.
// Identity, then storage and monitoring with its roles, rights on workspaces and data, the app (whose first start finds its roles), alerts.

import { publishedContainers, ruledAccounts, settingOf, stagingContainers } from 'modules/rules.bicep'
import { appOptions, dataAccessOptions, deliveryOptions, existingResources, firstStage, monitoringOptions, networkOptions, resourceNames, rulesFile, stateOptions, watchedAccount } from 'modules/types.bicep'
import { containers, functions, queues } from 'modules/contract.bicep'
import { alphanumeric, checked, letters, lowerCase, only } from 'modules/names.bicep'

@description('Begins the names of all resources. Lower-case letters and digits.')
@minLength(2)
@maxLength(12)
param workload string = 'scorekeeper'

@description('Environment; part of the names. Letters, digits and hyphens.')
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
param mlAccess ('dataScientist' | 'custom' | 'none') = 'dataScientist'

@description('Who gives the rights to read blobs, and to whom.')
param dataAccess dataAccessOptions = {}

@description('How events reach the app: pushed by Event Grid (a second stage), or through a storage queue (private networks, one stage).')
param delivery deliveryOptions = {}

@description('What others have made already and is used instead of something new.')
param existing existingResources = {}

@description('How app and state account are reached. Left out: by public endpoints.')
param network networkOptions = {}

@description('Logs, alerts and the workbook.')
param monitoring monitoringOptions = {}

@description('The state account.')
param state stateOptions = {}

@description('The function app.')
param app appOptions = {}

var stem = '${checked('workload', workload, lowerCase, lowerCase, lowerCase, 2, 12)}-${checked('environmentName', environmentName, alphanumeric, '${alphanumeric}-', '${alphanumeric}-', 2, 12)}'
var hash = uniqueString(resourceGroup().id, workload, environmentName)
var functionAppName = checked('names.functionApp', names.?functionApp ?? 'func-${stem}-${take(hash, 6)}', alphanumeric, '${alphanumeric}-', alphanumeric, 2, 60)
var unique = uniqueString(resourceGroup().id, functionAppName)
var storageAccountName = checked('names.storageAccount', names.?storageAccount ?? take('st${take(only(toLower(stem), lowerCase), 12)}${hash}', 24), lowerCase, lowerCase, lowerCase, 3, 24)
var planName = checked('names.plan', names.?plan ?? 'plan-${stem}-${take(hash, 6)}', '${alphanumeric}-_', '${alphanumeric}-_', '${alphanumeric}-_', 1, 60)
var identityName = checked('names.identity', names.?identity ?? 'id-${stem}-${take(hash, 6)}', alphanumeric, '${alphanumeric}-_', '${alphanumeric}-_', 3, 128)
var logAnalyticsName = checked('names.logAnalytics', names.?logAnalytics ?? 'log-${stem}-${take(hash, 6)}', alphanumeric, '${alphanumeric}-', alphanumeric, 4, 63)
var insightsName = checked('names.applicationInsights', names.?applicationInsights ?? 'appi-${stem}-${take(hash, 6)}', '${alphanumeric}-_(', '${alphanumeric}-_.()', '${alphanumeric}-_()', 1, 255)
var queueDelivery = delivery.?mode == 'storageQueue'
var taskHub = checked('app.taskHub', app.?taskHub ?? 'Scorekeeper', letters, alphanumeric, alphanumeric, 3, 45)

// What cannot work is refused here, and not by an app that never gets an event.
var checkedPublicNetworkAccess = !queueDelivery && network.?publicNetworkAccess == 'Disabled'
  ? fail('Event Grid cannot push to an app without public network access: set delivery.mode to storageQueue')
  : (network.?publicNetworkAccess ?? 'Enabled')
var checkedSubnet = !empty(network.?privateEndpointSubnetResourceId) && empty(network.?integrationSubnetResourceId)
  ? fail('the state account is closed to the internet: set network.integrationSubnetResourceId, so that the app can reach it')
  : (network.?integrationSubnetResourceId ?? '')

// What is left out has the handler's own default: one truth for each.
var sometimes = union(
  empty(rules.rules) ? {} : { SCOREKEEPER_RULES: settingOf(rules) },
  contains(app, 'concurrency') ? { SCOREKEEPER_CONCURRENCY: string(app.?concurrency) } : {},
  (app.?http ?? false) ? { SCOREKEEPER_HTTP: 'on' } : {},
  (app.?page ?? false) ? { SCOREKEEPER_PAGE: contains(app, 'authentication') ? 'on' : fail('the page is shown to whoever signs in: set app.authentication') } : {},
  (app.?authentication.?required ?? contains(app, 'authentication')) ? { SCOREKEEPER_SIGN_IN: 'required' } : {}
)
var off = union(app.?disabledFunctions ?? [], [queueDelivery ? functions.event : functions.queue], (app.?http ?? false) ? [] : [functions.scorings, functions.operations], (app.?page ?? false) ? [] : [functions.page])
var disabled = toObject(off, name => 'AzureWebJobs_${name}_Disabled', name => 'true') // the other delivery mode's would ask for a queue that is not there
var watchedIds = map(watchedAccounts, account => toLower(account.resourceId))
var readIds = union(watchedIds, map(union(outputAccountResourceIds, filter([dataAccess.?rulesContainerResourceId ?? ''], id => !empty(id))), id => toLower(id)))
var checkedAccounts = ruledAccounts(rules.rules, watchedAccounts) // what is refused is refused in a variable that reads no resource: before anything is deployed
var publishedIds = publishedContainers(rules.rules, dataAccess)
var stagingIds = stagingContainers(rules.rules, watchedAccounts)
var elsewhere = map(existing.?roleAssignmentScopes ?? [], id => toLower(id))
var unknown = filter(elsewhere, id => !contains(union(readIds, publishedIds, stagingIds, map(workspaceResourceIds, id => toLower(id))), id))
var givenElsewhere = empty(unknown) ? elsewhere : fail('existing.roleAssignmentScopes names ${join(unknown, ', ')}, which is no account, no published container and no workspace of this deployment')

module identity 'modules/identity.bicep' = {
  params: {
    name: identityName
    location: location
    tags: tags
    existingResourceId: existing.?identityResourceId ?? ''
  }
}

module storage 'modules/storage.bicep' = {
  params: {
    name: storageAccountName
    location: location
    tags: tags
    options: state
    taskHub: taskHub
    principalId: identity.outputs.principalId
    queueDelivery: queueDelivery
    network: network
    platformLogs: platformLogs
  }
}

module logs 'modules/monitoring.bicep' = {
  params: {
    name: insightsName
    workspaceName: logAnalyticsName
    location: location
    tags: tags
    existingWorkspaceResourceId: existing.?logAnalyticsResourceId ?? ''
    options: monitoring
    principalId: identity.outputs.principalId
  }
}

var platformLogs = (monitoring.?platformLogs ?? false) ? logs.outputs.workspaceResourceId : ''
// Modules in groups of others have names of this installation: another one may deploy into that group, too, at the same time.
module workspaceAccess 'modules/ml-access.bicep' = [
  for id in workspaceResourceIds: if (mlAccess != 'none' && !contains(givenElsewhere, toLower(id))) {
    name: '${take('ml-${last(split(id, '/'))}-${functionAppName}', 50)}-${unique}'
    scope: resourceGroup(split(id, '/')[2], split(id, '/')[4])
    params: {
      workspaceName: last(split(id, '/'))
      access: mlAccess == 'custom' ? 'custom' : 'dataScientist'
      suffix: '${stem}-${uniqueString(resourceGroup().id, id)}'
      principalId: identity.outputs.principalId
    }
  }
]

module blobAccess 'modules/data-access.bicep' = [
  for id in union(readIds, publishedIds, stagingIds): if ((dataAccess.?assign ?? true) && !contains(givenElsewhere, id)) {
    name: '${take('data-${join(skip(split(id, '/'), 8), '-')}-${functionAppName}', 50)}-${unique}'
    scope: resourceGroup(split(id, '/')[2], split(id, '/')[4])
    params: {
      id: id
      use: contains(stagingIds, id) ? 'staging' : contains(publishedIds, id) ? 'published' : 'read'
      principalId: identity.outputs.principalId
      options: contains(watchedIds, id) ? dataAccess : {}
      rules: contains(watchedIds, id) ? rules.rules : []
      suffix: '${stem}-${uniqueString(resourceGroup().id, id)}'
    }
  }
]

module site 'modules/function.bicep' = {
  params: {
    name: functionAppName
    planName: planName
    location: location
    tags: tags
    identityResourceId: identity.outputs.resourceId
    deploymentContainerUrl: '${storage.outputs.blobEndpoint}${containers.deployments}'
    settings: union(app.?settings ?? {}, disabled, sometimes, {
      APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identity.outputs.clientId};Authorization=AAD'
      APPLICATIONINSIGHTS_CONNECTION_STRING: logs.outputs.ingestion
      AZURE_CLIENT_ID: identity.outputs.clientId
      // Beside the service URIs: some of the host's own clients know only this (azure-functions-host 11787).
      AzureWebJobsStorage__accountName: storage.outputs.name
      AzureWebJobsStorage__blobServiceUri: storage.outputs.blobEndpoint
      AzureWebJobsStorage__clientId: identity.outputs.clientId
      AzureWebJobsStorage__credential: 'managedidentity'
      AzureWebJobsStorage__queueServiceUri: storage.outputs.queueEndpoint
      AzureWebJobsStorage__tableServiceUri: storage.outputs.tableEndpoint
      // The host reads the schedules in function.json, and knows no default for them.
      RECONCILE_SCHEDULE: app.?reconcileSchedule ?? '0 * * * * *'
      SWEEP_SCHEDULE: app.?sweepSchedule ?? '30 */5 * * * *'
      SCOREKEEPER_RESOURCE_MANAGER: environment().resourceManager
      SCOREKEEPER_DEAD_LETTERS: '${storage.outputs.blobEndpoint}${containers.deadLetters}'
      // A new version of the code must not choose another ledger by a new default.
      SCOREKEEPER_TASK_HUB: taskHub
      SCOREKEEPER_WATCHED_ACCOUNTS: join(map(watchedIds, id => last(split(id, '/'))), ',')
    })
    options: app
    network: network
    integrationSubnetResourceId: checkedSubnet
    publicNetworkAccess: checkedPublicNetworkAccess
    platformLogs: platformLogs
  }
  dependsOn: [workspaceAccess, blobAccess] // nothing of theirs is used above, and yet the first start needs them
}

var alerting = monitoring.?alerts ?? true
resource mail 'Microsoft.Insights/actionGroups@2023-01-01' = if (alerting && !empty(monitoring.?alertEmails)) {
  name: 'ag-${stem}'
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'scorekeeper'
    enabled: true
    emailReceivers: [for (email, index) in monitoring.?alertEmails ?? []: { name: 'mail-${index}', emailAddress: email, useCommonAlertSchema: true }]
  }
}

var actionGroups = concat(monitoring.?actionGroupResourceIds ?? [], alerting && !empty(monitoring.?alertEmails) ? [mail.id] : [])
var runbookUrl = monitoring.?runbookUrl ?? ''

module alerts 'modules/alerts.bicep' = if (alerting) {
  params: {
    appName: functionAppName
    location: location
    tags: tags
    applicationInsightsResourceId: logs.outputs.resourceId
    queueDelivery: queueDelivery
    actionGroupResourceIds: actionGroups
    runbookUrl: runbookUrl
  }
}

module workbook 'modules/workbook.bicep' = if (monitoring.?workbook ?? true) {
  params: {
    displayName: 'Scorekeeper ${stem}'
    location: location
    tags: tags
    applicationInsightsResourceId: logs.outputs.resourceId
  }
}

var told firstStage = {
  functionAppName: functionAppName
  stateAccountName: storage.outputs.name
  watchedAccounts: checkedAccounts
  deliveryMode: delivery.?mode ?? 'eventGrid'
  pushes: { events: delivery.?maxEventsPerBatch ?? 50, kilobytes: delivery.?preferredBatchSizeInKilobytes ?? 256 }
  alerts: alerting
  actionGroupResourceIds: actionGroups
  runbookUrl: runbookUrl
  platformLogs: platformLogs
  tags: tags
}

module subscriptions 'events.bicep' = if (queueDelivery) {
  name: take('events-${functionAppName}', 64)
  params: {
    installation: told
    rules: rules
  }
}

@description('Name of the function app.')
output functionAppName string = site.outputs.name

@description('ARM id of the function app.')
output functionAppResourceId string = site.outputs.resourceId

@description('Host name of the function app.')
output functionAppHostName string = site.outputs.hostName

@description('ARM id of the app\'s identity.')
output identityResourceId string = identity.outputs.resourceId

@description('Client id of the app\'s identity.')
output identityClientId string = identity.outputs.clientId

@description('Object id of the app\'s identity: whom others give roles to.')
output identityPrincipalId string = identity.outputs.principalId

@description('Name of the state account.')
output stateAccountName string = storage.outputs.name

@description('Where the ledger is: what the command line takes as `--ledger`.')
output ledgerUrl string = storage.outputs.tableEndpoint

@description('Prefix of the ledger\'s tables.')
output taskHub string = taskHub

@description('Name of the queue that events come through; empty without queue delivery.')
output eventQueueName string = queueDelivery ? queues.events : ''

@description('Name of the Application Insights component.')
output applicationInsightsName string = logs.outputs.name

@description('ARM id of the Log Analytics workspace.')
output logAnalyticsResourceId string = logs.outputs.workspaceResourceId

@description('ARM id of the workbook; empty if there is none.')
output workbookResourceId string = (monitoring.?workbook ?? true) ? workbook!.outputs.resourceId : ''

@description('Parameters of stage 2, as a parameters file.')
output events object = {
  contentVersion: '1.0.0.0'
  parameters: {
    installation: { value: told }
    rules: { value: rules }
  }
}
