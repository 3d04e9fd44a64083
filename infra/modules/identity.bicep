// The identity that the app works as: created, or one that exists. User-assigned, so that its roles can be there
// before the app starts for the first time and outlive the app.

@description('Name of the identity to create.')
param name string

@description('Region.')
param location string

@description('Tags.')
param tags object

@description('ARM id of an identity to use instead; empty: one is created.')
param existingResourceId string

// The stand-in keeps the indexes below valid when nothing is given.
var parts = split(empty(existingResourceId) ? '/subscriptions/-/resourceGroups/-/providers/-/-/-' : existingResourceId, '/')

resource created 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = if (empty(existingResourceId)) {
  name: name
  location: location
  tags: tags
}

resource given 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = if (!empty(existingResourceId)) {
  name: parts[8]
  scope: resourceGroup(parts[2], parts[4])
}

@description('ARM id of the identity.')
output resourceId string = empty(existingResourceId) ? created.id : existingResourceId

@description('Client id, for token requests.')
output clientId string = empty(existingResourceId) ? created!.properties.clientId : given!.properties.clientId

@description('Object id, for role assignments.')
output principalId string = empty(existingResourceId) ? created!.properties.principalId : given!.properties.principalId
