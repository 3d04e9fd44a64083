// One private endpoint, registered in a DNS zone where one is given.

@description('Name of the endpoint.')
param name string

@description('Region of the subnet.')
param location string

@description('Tags.')
param tags object

@description('ARM id of the subnet.')
param subnetResourceId string

@description('ARM id of what is reached through it.')
param targetResourceId string

@description('Which part of the target: `blob`, `queue`, `table` or `sites`.')
param group string

@description('ARM id of the private DNS zone; empty: none is registered.')
param privateDnsZoneResourceId string

resource endpoint 'Microsoft.Network/privateEndpoints@2025-05-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    subnet: {
      id: subnetResourceId
    }
    privateLinkServiceConnections: [
      {
        name: group
        properties: {
          privateLinkServiceId: targetResourceId
          groupIds: [group]
        }
      }
    ]
  }
}

resource registration 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2025-05-01' = if (!empty(privateDnsZoneResourceId)) {
  parent: endpoint
  name: 'default'
  properties: {
    privateDnsZoneConfigs: [
      {
        name: group
        properties: {
          privateDnsZoneId: privateDnsZoneResourceId
        }
      }
    ]
  }
}
