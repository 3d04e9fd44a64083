// A role of the least that is needed to score on batch endpoints, for companies to whom `AzureML Data Scientist` is
// too much. Deployed into the workspace's resource group.
//
// The first two groups are Microsoft's list of what invoking a batch endpoint takes ("Authorization on batch
// endpoints"). It is not minimal; the actions marked (?) are candidates to be left out, after a trial on a live
// workspace. The third group is what this app does besides: look for jobs, poll them, cancel them, find datastores.

@description('What makes the role\'s name unique in the tenant.')
param suffix string

var prefix = 'Microsoft.MachineLearningServices/workspaces'

resource role 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(resourceGroup().id, 'scorekeeper', suffix)
  properties: {
    roleName: 'Scorekeeper batch invoker ${suffix}'
    description: 'Invokes Azure ML batch endpoints, and looks for, reads and cancels their jobs.'
    type: 'CustomRole'
    assignableScopes: [resourceGroup().id]
    permissions: [
      {
        actions: [
          // to invoke
          '${prefix}/read'
          '${prefix}/batchEndpoints/read'
          '${prefix}/batchEndpoints/write' // (?)
          '${prefix}/batchEndpoints/deployments/read'
          '${prefix}/batchEndpoints/deployments/write' // (?)
          '${prefix}/batchEndpoints/deployments/jobs/write'
          '${prefix}/batchEndpoints/jobs/write'
          // what the run does in its invoker's name
          '${prefix}/computes/read'
          '${prefix}/computes/listKeys/action' // (?)
          '${prefix}/data/versions/write'
          '${prefix}/datasets/registered/read'
          '${prefix}/datasets/registered/write'
          '${prefix}/datasets/unregistered/read'
          '${prefix}/datasets/unregistered/write'
          '${prefix}/datastores/read'
          '${prefix}/datastores/write'
          '${prefix}/datastores/listsecrets/action'
          '${prefix}/endpoints/pipelines/read'
          '${prefix}/endpoints/pipelines/write' // (?) pipeline component deployments
          '${prefix}/environments/read'
          '${prefix}/environments/write' // (?)
          '${prefix}/environments/build/action' // (?)
          '${prefix}/environments/readSecrets/action'
          '${prefix}/experiments/read'
          '${prefix}/experiments/runs/read'
          '${prefix}/experiments/runs/write'
          '${prefix}/experiments/runs/submit/action'
          '${prefix}/listStorageAccountKeys/action'
          '${prefix}/metadata/artifacts/read'
          '${prefix}/metadata/artifacts/write'
          '${prefix}/metadata/secrets/read'
          '${prefix}/metadata/snapshots/read'
          '${prefix}/metrics/resource/write'
          '${prefix}/models/read'
          '${prefix}/modules/read'
          // to look, poll and cancel
          '${prefix}/batchEndpoints/jobs/read'
          '${prefix}/batchEndpoints/deployments/jobs/read'
          '${prefix}/jobs/read'
          '${prefix}/jobs/cancel/action'
          '${prefix}/jobs/operationresults/read'
        ]
        notActions: []
      }
    ]
  }
}

@description('ARM id of the role definition.')
output roleDefinitionId string = role.id
