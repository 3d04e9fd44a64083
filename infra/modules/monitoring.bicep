// Application Insights over a Log Analytics workspace, created or given. Only identities write to it.

import { monitoringOptions } from 'types.bicep'
import { roles } from 'roles.bicep'

@description('Name of the Application Insights component.')
param name string

@description('Name of the workspace to create.')
param workspaceName string

@description('Region.')
param location string

@description('Tags.')
param tags object

@description('ARM id of a Log Analytics workspace to use instead; empty: one is created.')
param existingWorkspaceResourceId string

@description('How long and how much the created workspace keeps.')
param options monitoringOptions

@description('Object id of the app\'s identity.')
param principalId string

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-07-01' = if (empty(existingWorkspaceResourceId)) {
  name: workspaceName
  location: location
  tags: tags
  properties: {
    sku: {
      name: 'PerGB2018'
    }
    retentionInDays: options.?retentionInDays ?? 30
    features: {
      disableLocalAuth: true
      enableLogAccessUsingOnlyResourcePermissions: true
    }
    workspaceCapping: {
      dailyQuotaGb: options.?dailyQuotaGb ?? 5
    }
  }
}

resource component 'Microsoft.Insights/components@2020-02-02' = {
  name: name
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    DisableLocalAuth: true
    IngestionMode: 'LogAnalytics'
    WorkspaceResourceId: empty(existingWorkspaceResourceId) ? workspace.id : existingWorkspaceResourceId
  }
}

resource publishing 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: component
  name: guid(component.id, principalId, roles.monitoringMetricsPublisher)
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.monitoringMetricsPublisher)
    description: 'Function app on the Application Insights component: sends its telemetry; local authentication is off'
  }
}

@description('Name of the component.')
output name string = component.name

@description('ARM id of the component.')
output resourceId string = component.id

@description('ARM id of the Log Analytics workspace.')
output workspaceResourceId string = empty(existingWorkspaceResourceId) ? workspace.id : existingWorkspaceResourceId

// No secret: it names the place, and local authentication is off.
@description('Where telemetry is sent.')
output ingestion string = component.properties.ConnectionString
