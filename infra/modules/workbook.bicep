// A page in the portal for those who run the app. Its queries are the files in queries/, word for word.

@description('Name that is shown.')
param displayName string

@description('Region.')
param location string

@description('Tags.')
param tags object

@description('ARM id of the Application Insights component.')
param applicationInsightsResourceId string

var records = loadTextContent('../queries/records.kql')

var charts = [
  {
    name: 'now'
    title: 'Where scorings stand'
    view: 'piechart'
    query: '${records}\n${loadTextContent('../queries/workbook-now.kql')}'
  }
  {
    name: 'runs'
    title: 'What reconcile runs found in flight'
    view: 'table'
    query: '${records}\n${loadTextContent('../queries/workbook-runs.kql')}'
  }
  {
    name: 'outcomes'
    title: 'Ends of scorings by hour'
    view: 'barchart'
    query: '${records}\n${loadTextContent('../queries/workbook-outcomes.kql')}'
  }
  {
    name: 'by-rule'
    title: 'By rule'
    view: 'table'
    query: '${records}\n${loadTextContent('../queries/workbook-by-rule.kql')}'
  }
  {
    name: 'duration'
    title: 'Minutes from accepted to scored, p50 and p95'
    view: 'table'
    query: '${records}\n${loadTextContent('../queries/workbook-duration.kql')}'
  }
  {
    name: 'attention'
    title: 'What did not go well, and why'
    view: 'table'
    query: '${records}\n${loadTextContent('../queries/workbook-attention.kql')}'
  }
  {
    name: 'invocations'
    title: 'Invocations'
    view: 'table'
    query: loadTextContent('../queries/workbook-invocations.kql')
  }
  {
    name: 'warnings'
    title: 'Warnings and errors'
    view: 'table'
    query: '${records}\n${loadTextContent('../queries/workbook-warnings.kql')}'
  }
]

var timeRange = [
  {
    type: 9
    content: {
      version: 'KqlParameterItem/1.0'
      parameters: [
        {
          id: guid(applicationInsightsResourceId, 'time')
          version: 'KqlParameterItem/1.0'
          name: 'time'
          label: 'Time'
          type: 4
          isRequired: true
          value: {
            durationMs: 86400000
          }
          typeSettings: {
            selectableValues: [
              {
                durationMs: 3600000
              }
              {
                durationMs: 86400000
              }
              {
                durationMs: 604800000
              }
              {
                durationMs: 2592000000
              }
            ]
          }
        }
      ]
      style: 'pills'
      queryType: 0
      resourceType: 'microsoft.insights/components'
    }
    name: 'time'
  }
]

var views = map(charts, chart => {
  type: 3
  content: {
    version: 'KqlItem/1.0'
    query: chart.query
    size: 0
    title: chart.title
    timeContextFromParameter: 'time'
    queryType: 0
    resourceType: 'microsoft.insights/components'
    visualization: chart.view
  }
  name: chart.name
})

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(applicationInsightsResourceId, 'workbook')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: displayName
    category: 'workbook'
    sourceId: applicationInsightsResourceId
    serializedData: string({
      version: 'Notebook/1.0'
      items: concat(timeRange, views)
      fallbackResourceIds: [applicationInsightsResourceId]
      '$schema': 'https://github.com/Microsoft/Application-Insights-Workbooks/blob/master/schema/workbook.json'
    })
  }
}

@description('ARM id of the workbook.')
output resourceId string = workbook.id
