// The function app: a Flex Consumption plan and a site with the custom runtime.
//
// The runtime's version is a constant on purpose: Resource Manager takes any text, and an app that was created with
// a version that does not exist cannot be healed (github.com/Azure/Azure-Functions/issues/2666).

import { appOptions, networkOptions } from 'types.bicep'

@description('Name of the site.')
@maxLength(60)
param name string

@description('Name of the plan.')
param planName string

@description('Region; it must offer Flex Consumption.')
param location string

@description('Tags.')
param tags object

@description('ARM id of the app\'s identity.')
param identityResourceId string

@description('URL of the container that holds the deployed package.')
param deploymentContainerUrl string

@description('Application settings by name.')
param settings object

@description('Size, scale, further tags.')
param options appOptions

@description('Who may call the app, private endpoints.')
param network networkOptions

@description('ARM id of the subnet for outbound traffic; empty: none.')
param integrationSubnetResourceId string

@description('Whether the app can be reached from the internet.')
param publicNetworkAccess string

@description('ARM id of the Log Analytics workspace that platform logs go to; empty: they are not kept.')
param platformLogs string

// Otherwise the plan is refused by Azure, after the rest was made.
var ready = map(options.?alwaysReady ?? [], group => group.instanceCount)
var checkedZones = (options.?zoneRedundant ?? false) && (empty(ready) || max(ready) < 2) ? fail('a plan over zones needs two or more instances: set app.alwaysReady') : (options.?zoneRedundant ?? false)
var signInRequired = options.?authentication.?required ?? true
var allowedIpRanges = network.?allowedIpRanges ?? []
var allowed = [
  for (addresses, index) in allowedIpRanges: {
    name: 'range-${index}'
    ipAddress: addresses
    action: 'Allow'
    priority: 200 + index
  }
]
var eventGrid = {
  name: 'event-grid'
  ipAddress: 'AzureEventGrid'
  tag: 'ServiceTag'
  action: 'Allow'
  priority: 100
}

resource plan 'Microsoft.Web/serverfarms@2025-03-01' = {
  name: planName
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: {
    reserved: true
    zoneRedundant: checkedZones
  }
}

resource site 'Microsoft.Web/sites@2025-03-01' = {
  name: name
  location: location
  tags: union(tags, options.?tags ?? {})
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityResourceId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    publicNetworkAccess: publicNetworkAccess
    virtualNetworkSubnetId: empty(integrationSubnetResourceId) ? null : integrationSubnetResourceId
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: deploymentContainerUrl
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityResourceId
          }
        }
      }
      runtime: {
        name: 'custom'
        version: '1.0'
      }
      scaleAndConcurrency: {
        instanceMemoryMB: options.?instanceMemoryMB ?? 512
        maximumInstanceCount: options.?maximumInstanceCount ?? 40
        alwaysReady: options.?alwaysReady ?? []
        // Event Grid's functions scale with HTTP. The platform's default starts dozens of instances for a burst that one takes.
        triggers: {
          http: {
            perInstanceConcurrency: options.?concurrency ?? 64
          }
        }
      }
    }
    siteConfig: {
      // All of them, here and nowhere else: another write of the settings would replace these.
      appSettings: [
        for setting in items(settings): {
          name: setting.key
          value: setting.value
        }
      ]
      ftpsState: 'Disabled'
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      ipSecurityRestrictions: empty(allowedIpRanges) ? [] : concat([eventGrid], allowed)
      ipSecurityRestrictionsDefaultAction: empty(allowedIpRanges) ? 'Allow' : 'Deny'
      scmIpSecurityRestrictionsUseMain: true
    }
  }
}

// No password opens the deployment site or FTP.
resource ftpPasswords 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: site
  name: 'ftp'
  properties: {
    allow: false
  }
}

resource scmPasswords 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: site
  name: 'scm'
  properties: {
    allow: false
  }
}

resource authentication 'Microsoft.Web/sites/config@2025-03-01' = if (contains(options, 'authentication')) {
  parent: site
  name: 'authsettingsV2'
  properties: {
    platform: {
      enabled: true
    }
    globalValidation: {
      requireAuthentication: signInRequired
      unauthenticatedClientAction: signInRequired ? 'RedirectToLoginPage' : 'AllowAnonymous'
      redirectToProvider: 'azureactivedirectory'
      // Event Grid calls /runtime/webhooks with a key of the platform; it would be answered 401 (eventgrid-extension 103).
      excludedPaths: ['/runtime/*', '/admin/*']
    }
    identityProviders: {
      azureActiveDirectory: {
        enabled: true
        registration: {
          clientId: options.?authentication.?clientId
          openIdIssuer: options.?authentication.?issuer
        }
      }
    }
    login: {
      tokenStore: {
        enabled: false
      }
    }
  }
}

#disable-next-line use-recent-api-versions // it is the newest; the linter would have the stable one of 2016
resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (!empty(platformLogs)) {
  scope: site
  name: 'scorekeeper'
  properties: {
    workspaceId: platformLogs
    logs: [
      {
        category: 'FunctionAppLogs'
        enabled: true
      }
    ]
  }
}

module privateEndpoint 'private-endpoint.bicep' = if (!empty(network.?privateEndpointSubnetResourceId)) {
  params: {
    name: take('pe-${name}-sites', 64)
    location: location
    tags: tags
    subnetResourceId: network.?privateEndpointSubnetResourceId ?? ''
    targetResourceId: site.id
    group: 'sites'
    privateDnsZoneResourceId: network.?privateDnsZoneResourceIds.?sites ?? ''
  }
}

@description('ARM id of the app.')
output resourceId string = site.id

@description('Name of the app.')
output name string = site.name

@description('Host name of the app.')
output hostName string = site.properties.defaultHostName
