// What a deployment reads in the rules, and what of them cannot work.

import { dataAccessOptions, rulesFile, watchedAccount } from 'types.bicep'

func publishes(rule object) bool => !empty(filter(items(rule.?outputs ?? {}), output => contains(output.value, 'publish')))

@description('Ids of the containers that rules publish to, in lower case. A datastore tells no resource group, so that they are named; rules of the package or of a blob are not seen here.')
@export()
func publishedContainers(rules object[], access dataAccessOptions) string[] =>
  empty(filter(rules, rule => publishes(rule)))
    ? (empty(rules) || empty(access.?publishedContainerResourceIds)
        ? map(access.?publishedContainerResourceIds ?? [], id => toLower(id))
        : fail('dataAccess.publishedContainerResourceIds lets the app write, and no rule publishes: leave it out'))
    : (empty(access.?publishedContainerResourceIds) && (access.?assign ?? true)
        ? fail('rule ${join(map(filter(rules, rule => publishes(rule)), rule => rule.id), ', ')} publishes: name the containers in dataAccess.publishedContainerResourceIds, so that the app may write there')
        : map(access.?publishedContainerResourceIds ?? [], id => toLower(id)))

func stagingOf(rule object, accountId string) string => toLower('${accountId}/blobServices/default/containers/${rule.group.?staging ?? 'scorekeeper-staging'}')

@description('Ids of the containers that members of groups are copied to, in lower case: in each watched account one for each name that its grouping rules have. Rules of the package or of a blob are not seen here.')
@export()
func stagingContainers(rules object[], accounts watchedAccount[]) string[] =>
  union(
    flatten(map(
      accounts,
      account => map(filter(rules, rule => contains(rule, 'group') && toLower(rule.match.?account ?? last(split(account.resourceId, '/'))) == toLower(last(split(account.resourceId, '/')))), rule => stagingOf(rule, account.resourceId))
    )),
    []
  )

@description('The rules as the setting that holds them: App Service takes no more in one, and the app would not start.')
@export()
func settingOf(rules rulesFile) string =>
  length(string(rules)) > 100000
    ? fail('the rules have ${length(string(rules))} characters, and an application setting takes 100000: put them into a blob (SCOREKEEPER_RULES in app.settings) or the package (cargo xtask package --rules FILE), give { rules: [] } here, and name the containers of each watched account')
    : string(rules)

// Account names are lower-case, ids may be written otherwise.
func unruled(rules object[], accounts watchedAccount[]) string[] =>
  !empty(filter(rules, rule => !contains(rule.match, 'account')))
    ? []
    : filter(map(filter(accounts, account => empty(account.?containers)), account => toLower(last(split(account.resourceId, '/')))), name => !contains(map(rules, rule => toLower(rule.match.?account ?? '')), name))

@description('The watched accounts. One that no rule names would get no event, silently.')
@export()
func ruledAccounts(rules object[], accounts watchedAccount[]) watchedAccount[] =>
  empty(unruled(rules, accounts)) ? accounts : fail('no rule names the watched account ${join(unruled(rules, accounts), ', ')}: add a rule, take the account out of watchedAccounts, or name its containers if the rules are in the package')
