// Whom alerts are mailed to.

@description('Name of the action group.')
param name string

@description('Tags.')
param tags object

@description('Mail addresses.')
param emails string[]

resource group 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: name
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'scorekeeper'
    enabled: true
    emailReceivers: [
      for (email, index) in emails: {
        name: 'mail-${index}'
        emailAddress: email
        useCommonAlertSchema: true
      }
    ]
  }
}

@description('ARM id of the action group.')
output resourceId string = group.id
