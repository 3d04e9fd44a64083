// Names that the handler, the Functions host and the templates must agree on. Tests compare them with the code, with
// host.json and with function-definitions/.

@description('Functions of the package.')
@export()
var functions = {
  event: 'BlobCreated'
  queue: 'BlobCreatedFromQueue'
  timer: 'Reconcile'
  sweep: 'Sweep'
  scorings: 'Scorings'
  operations: 'Operations'
  page: 'Page'
}

@description('Queues of queue delivery. The host itself appends `-poison`.')
@export()
var queues = {
  events: 'blob-events'
  poison: 'blob-events-poison'
}

@description('Containers of the state account.')
@export()
var containers = {
  deployments: 'deployments'
  deadLetters: 'dead-letters'
}

@description('What follows the task hub in the names of the tables.')
@export()
var tableSuffixes = ['State', 'Instances', 'History']

@description('Writing operations after which a blob is complete.')
@export()
var completeApis = ['PutBlob', 'PutBlockList', 'CopyBlob', 'FlushWithClose', 'SftpCommit']

@description('Operations that begin a file whose content comes later. Told of where a rule takes files that nobody closes.')
@export()
var begunApis = ['CreateFile', 'SftpCreate']

@description('Events about new names, in accounts with a hierarchical namespace.')
@export()
var renameEvents = ['Microsoft.Storage.BlobRenamed', 'Microsoft.Storage.DirectoryRenamed']
