// Types that several files share.

@description('A storage account whose blobs are scored.')
@export()
@sealed()
type watchedAccount = {
  @description('ARM id of the storage account.')
  resourceId: string

  @description('ARM id of the account\'s Event Grid system topic, if it has one: an account can have only one. It needs a system-assigned identity. Left out: a topic is created beside the account.')
  systemTopicResourceId: string?

  @description('Whether the account has a hierarchical namespace (Data Lake Storage, SFTP): files are renamed there, and their content may come after the event. Left out: as if it had, so that nothing is missed; `false` spares a subscription.')
  hierarchical: bool?

  @description('Containers whose events are all let through, whatever the rules here say: for rules in the package or in a blob, which the templates do not see.')
  containers: string[]?
}

@description('The rules file, as the handler reads it. Only what the templates use is typed; the handler checks the rest.')
@export()
type rulesFile = {
  @description('The rules, in the order of the file. Empty: those of the package (`cargo xtask package --rules FILE`), or of a blob (`SCOREKEEPER_RULES` in `app.settings`); each watched account then names its `containers`.')
  rules: object[]

  @description('What holds for an endpoint whatever the rule.')
  endpoints: object[]?
}

@description('How events reach the app: pushed by Event Grid (a second stage), or through a storage queue (private networks, one stage).')
@export()
type deliveryMode = 'eventGrid' | 'storageQueue'

@description('How events reach the app.')
@export()
@sealed()
type deliveryOptions = {
  @description('Pushed by Event Grid (`eventGrid`, default; a second stage), or through a storage queue (`storageQueue`; private networks, one stage).')
  mode: deliveryMode?

  @description('Most events of one push (default 50). A push fails as a whole, and its good events are duplicates the next time.')
  @minValue(1)
  @maxValue(5000)
  maxEventsPerBatch: int?

  @description('About how large a push may be (default 256); one event alone may be larger.')
  @minValue(1)
  @maxValue(1024)
  preferredBatchSizeInKilobytes: int?
}

@description('Names of resources. What is left out is made of workload, environment and a hash of the resource group.')
@export()
@sealed()
type resourceNames = {
  @description('Function app; 2 to 60 letters, digits and hyphens, no hyphen first or last.')
  functionApp: string?

  @description('Flex Consumption plan; at most 60 letters, digits, hyphens and underscores.')
  plan: string?

  @description('User-assigned identity; 3 to 128 letters, digits, hyphens and underscores, a letter or digit first.')
  identity: string?

  @description('State account; 3 to 24 lower-case letters and digits.')
  storageAccount: string?

  @description('Log Analytics workspace; 4 to 63 letters, digits and hyphens, no hyphen first or last.')
  logAnalytics: string?

  @description('Application Insights component; at most 255 letters, digits, and `-_.()`, no dot last.')
  applicationInsights: string?
}

@description('Who gives the rights to blobs, and to whom.')
@export()
@sealed()
type dataAccessOptions = {
  @description('Whether they are given here (default). False where another team gives them all; for single accounts see `existing.roleAssignmentScopes`.')
  assign: bool?

  @description('Object ids of the compute clusters\' identities, which read inputs too.')
  computePrincipalIds: string[]?

  @description('Whether the app may read index tags in the watched accounts. Left out: in those whose rules here ask for them (`match.indexTags`). Rules in the package or in a blob are not seen here: say `true` if they ask.')
  indexTags: bool?

  @description('ARM id of the container that the rules lie in, where `SCOREKEEPER_RULES` in `app.settings` names a blob: the app may read it and nothing beside it.')
  rulesContainerResourceId: string?

  @description('ARM ids of the containers that rules publish to (`publish` of an output; the datastore\'s container): the app may write there and nowhere else. Refused where no rule publishes, and needed where one does.')
  publishedContainerResourceIds: string[]?
}

@description('What others have made already and is used instead of something new.')
@export()
@sealed()
type existingResources = {
  @description('ARM id of a user-assigned identity.')
  identityResourceId: string?

  @description('ARM id of a Log Analytics workspace.')
  logAnalyticsResourceId: string?

  @description('ARM ids of those watched and output accounts, published containers and machine learning workspaces on which others give the roles (to app and clusters): none is assigned there.')
  roleAssignmentScopes: string[]?
}

@description('Private DNS zones by what they resolve. Leave one out where a policy registers private endpoints.')
@export()
@sealed()
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

@description('How app and state account are reached. Left out: by public endpoints.')
@export()
@sealed()
type networkOptions = {
  @description('ARM id of the subnet for outbound traffic, delegated to Microsoft.App/environments.')
  integrationSubnetResourceId: string?

  @description('ARM id of the subnet for private endpoints of the state account and the app. With it the state account is closed to the internet.')
  privateEndpointSubnetResourceId: string?

  @description('Private DNS zones for these endpoints.')
  privateDnsZoneResourceIds: privateDnsZones?

  @description('Whether the app can be reached from the internet (default `Enabled`). Event Grid can push only if it can.')
  publicNetworkAccess: ('Enabled' | 'Disabled')?

  @description('Address ranges that may call the app, for example 203.0.113.0/24; left out: all. Event Grid may always.')
  allowedIpRanges: string[]?
}

@description('Logs, alerts and the workbook.')
@export()
@sealed()
type monitoringOptions = {
  @description('Whether alerts are made (default true).')
  alerts: bool?

  @description('Mail addresses that alerts go to.')
  alertEmails: string[]?

  @description('ARM ids of further action groups that alerts go to.')
  actionGroupResourceIds: string[]?

  @description('Where your copy of infra/README.md is read; an alert\'s name follows as an anchor. Left out: alerts have no link.')
  runbookUrl: string?

  @description('Whether platform logs go to the Log Analytics workspace too (default false): the function app\'s, what was deleted in the state account, deliveries that failed.')
  platformLogs: bool?

  @description('Whether the workbook is made (default true).')
  workbook: bool?

  @description('Days for which the created Log Analytics workspace keeps logs (default 30).')
  @minValue(30)
  @maxValue(730)
  retentionInDays: int?

  @description('Most gigabytes that the created Log Analytics workspace takes in a day (default 5); -1: no cap.')
  dailyQuotaGb: int?
}

@description('The state account.')
@export()
@sealed()
type stateOptions = {
  @description('Redundancy (default `Standard_LRS`).')
  sku: ('Standard_LRS' | 'Standard_ZRS' | 'Standard_GRS' | 'Standard_GZRS')?

  @description('Days for which deleted containers can be brought back (default 14). Blobs cannot: the host rewrites one each minute.')
  @minValue(1)
  @maxValue(365)
  softDeleteDays: int?

  @description('Days after which a dead letter is deleted (default 90).')
  @minValue(7)
  @maxValue(3650)
  deadLetterRetentionDays: int?

  @description('Whether the account is locked against deletion (default false).')
  lock: bool?
}

@description('Instances that are kept warm.')
@export()
@sealed()
type alwaysReadyGroup = {
  @description('Scale group: `http` (HTTP and Event Grid functions) or `function:NAME`.')
  name: string

  @description('How many instances are kept. They are billed all the time.')
  @minValue(0)
  instanceCount: int
}

@description('Sign-in by App Service Authentication.')
@export()
@sealed()
type authenticationOptions = {
  @description('Client id of the app registration that people sign in to.')
  clientId: string

  @description('Issuer of its tokens, `https://login.microsoftonline.com/TENANT/v2.0`.')
  issuer: string

  @description('Whether nobody gets in who has not signed in (default true). With false the app is told who has.')
  required: bool?
}

@description('The function app.')
@export()
@sealed()
type appOptions = {
  @description('Prefix of the ledger\'s tables (default `Scorekeeper`), 3 to 45 letters and digits. Another one is another ledger: every blob version would be scored again.')
  @minLength(3)
  @maxLength(45)
  taskHub: string?

  @description('When the app looks at everything in flight: six fields, UTC (default `0 * * * * *`).')
  reconcileSchedule: string?

  @description('When the app goes on with the sweeps that are due: six fields, UTC (default `30 */5 * * * *`). How often a place is swept, its rule says (`sweep`).')
  sweepSchedule: string?

  @description('Further application settings by name, such as the handler\'s `SCOREKEEPER_RETENTION`. What is left out has the handler\'s own default. What the templates set cannot be replaced.')
  settings: {
    @description('Value by name.')
    *: string
  }?

  @description('Functions that are switched off. Events wait in Event Grid for a day, in the queue for ever; without the timer nothing is looked at.')
  disabledFunctions: ('BlobCreated' | 'BlobCreatedFromQueue' | 'Operations' | 'Page' | 'Reconcile' | 'Scorings' | 'Sweep')[]?

  @description('Whether orchestrators start scorings and ask for them by HTTP (default false): the functions Scorings and Operations, each with keys of its own. Whoever has one may start what the rules accept.')
  http: bool?

  @description('Whether the page is shown at `/api/ops/` to whoever signs in (default false): by the app roles `Reader` and `Operator` of the app registration that `authentication` names, which it needs.')
  page: bool?

  @description('Memory of an instance in megabytes (default 512).')
  instanceMemoryMB: (512 | 2048 | 4096)?

  @description('Most instances (default 40, the least that the platform documents).')
  @minValue(40)
  @maxValue(1000)
  maximumInstanceCount: int?

  @description('Instances that are kept warm.')
  alwaysReady: alwaysReadyGroup[]?

  @description('Most invocations at once in one instance (default 64, the handler\'s own): `SCOREKEEPER_CONCURRENCY`, and the platform\'s measure for starting another instance.')
  @minValue(1)
  @maxValue(1000)
  concurrency: int?

  @description('Whether the plan is spread over zones (default false). It takes two or more instances of `alwaysReady`.')
  zoneRedundant: bool?

  @description('Sign-in by App Service Authentication; left out: none. What Event Grid, the host and Azure call (`/runtime/*`, `/admin/*`) is excluded.')
  authentication: authenticationOptions?

  @description('Tags of the function app alone; azd finds it by one.')
  tags: {
    @description('Value by name.')
    *: string
  }?
}

@description('What the second stage needs to know of the first.')
@export()
@sealed()
type firstStage = {
  @description('Name of the function app.')
  functionAppName: string

  @description('Name of the state account.')
  stateAccountName: string

  @description('Storage accounts whose blobs are scored.')
  watchedAccounts: watchedAccount[]

  @description('How events reach the app.')
  deliveryMode: deliveryMode

  @description('Most events of one push, and about how many kilobytes it may have.')
  pushes: {
    @description('Events.')
    events: int

    @description('Kilobytes.')
    kilobytes: int
  }

  @description('Whether alerts are made.')
  alerts: bool

  @description('ARM ids of the action groups that are told.')
  actionGroupResourceIds: string[]

  @description('Where the runbook of an alert is; its name follows as an anchor. Empty: nowhere.')
  runbookUrl: string

  @description('ARM id of the Log Analytics workspace that platform logs go to; empty: they are not kept.')
  platformLogs: string

  @description('Tags of everything that is made.')
  tags: object
}
