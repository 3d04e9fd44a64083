// Nothing is reachable from the internet: events come through a queue, storage and app have private endpoints, outbound
// traffic goes through the virtual network. Network, DNS zones and identity belong to others and exist.
using '../main.bicep'

param environmentName = 'private'

param rules = loadJsonContent('prod.rules.json')

param watchedAccounts = [
  {
    resourceId: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-data-prod/providers/Microsoft.Storage/storageAccounts/stuploadsprod'
  }
  {
    resourceId: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-data-prod/providers/Microsoft.Storage/storageAccounts/stimagesprod'
  }
]

param workspaceResourceIds = [
  '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-ml-prod/providers/Microsoft.MachineLearningServices/workspaces/mlw-prod'
]

// Another team gives these rights to the identity below; infra/README.md lists them.
param mlAccess = 'none'

param dataAccess = {
  assign: false
}

param existing = {
  identityResourceId: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-identities/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-scorekeeper'
}

param delivery = {
  mode: 'storageQueue'
}

param network = {
  publicNetworkAccess: 'Disabled'
  integrationSubnetResourceId: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-network/providers/Microsoft.Network/virtualNetworks/vnet-spoke/subnets/snet-functions'
  privateEndpointSubnetResourceId: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-network/providers/Microsoft.Network/virtualNetworks/vnet-spoke/subnets/snet-endpoints'
  privateDnsZoneResourceIds: {
    blob: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-dns/providers/Microsoft.Network/privateDnsZones/privatelink.blob.core.windows.net'
    queue: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-dns/providers/Microsoft.Network/privateDnsZones/privatelink.queue.core.windows.net'
    table: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-dns/providers/Microsoft.Network/privateDnsZones/privatelink.table.core.windows.net'
    sites: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-dns/providers/Microsoft.Network/privateDnsZones/privatelink.azurewebsites.net'
  }
}

param state = {
  sku: 'Standard_ZRS'
  lock: true
}

param tags = {
  environment: 'prod'
}
