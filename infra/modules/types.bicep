// Types that several files share.

@description('A storage account whose blobs are scored.')
@export()
type watchedAccount = {
  @description('ARM id of the storage account.')
  resourceId: string

  @description('ARM id of the account\'s Event Grid system topic, if it has one: an account can have only one. It needs a system-assigned identity. Left out: a topic is created beside the account.')
  systemTopicResourceId: string?

  @description('Whether the account has a hierarchical namespace (Data Lake Storage, SFTP): files are renamed there, and their content may come after the event. Left out: as if it had, so that nothing is missed; `false` spares a subscription, and calls for blobs of no bytes.')
  hierarchical: bool?
}

@description('The rules file, as the handler reads it. Only what the templates use is typed; the handler checks the rest.')
@export()
type rulesFile = {
  @description('The rules, in the order of the file.')
  rules: object[]

  @description('What holds for an endpoint whatever the rule.')
  endpoints: object[]?
}

@description('Instances that are kept warm.')
@export()
type alwaysReadyGroup = {
  @description('Scale group: `http` (HTTP and Event Grid functions) or `function:NAME`.')
  name: string

  @description('How many instances are kept. They are billed all the time.')
  @minValue(0)
  instanceCount: int
}

@description('Names of resources. What is left out is made of workload, environment and a hash of the resource group.')
@export()
type resourceNames = {
  @description('Function app; at most 60 characters.')
  functionApp: string?

  @description('Flex Consumption plan.')
  plan: string?

  @description('User-assigned identity.')
  identity: string?

  @description('State account; 3 to 24 lower-case letters and digits.')
  storageAccount: string?

  @description('Log Analytics workspace.')
  logAnalytics: string?

  @description('Application Insights component.')
  applicationInsights: string?
}

@description('Private DNS zones by what they resolve. Leave one out where a policy registers private endpoints.')
@export()
type privateDnsZones = {
  @description('ARM id of the zone for blobs.')
  blob: string?

  @description('ARM id of the zone for queues.')
  queue: string?

  @description('ARM id of the zone for tables.')
  table: string?

  @description('ARM id of the zone for function apps.')
  sites: string?
}
