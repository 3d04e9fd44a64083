#!/bin/sh
# Deploys an environment: stage 1, the code, stage 2, and the doctor's look at the outcome. The workflow, infra/README.md and azd
# call this one; it may be repeated at any time and goes on from where Azure stands.
#
#   GROUP=rg-scorekeeper-dev infra/deploy.sh what-if | all | rules | roles | code | events | doctor
#
#   GROUP         resource group
#   SUBSCRIPTION  its subscription (default: the one that az has selected)
#   PARAMETERS    parameter file (default: infra/params/dev.bicepparam)
#   ZIP           the package (default: target/scorekeeper.zip)
#   DOCTOR        a scorekeeper executable that checks the rules before anything is asked, and looks at the outcome, also after a
#                 failure (default: none)
#   PAUSE         seconds between tries (default: 60)
#   TRIES         how many tries (default: 10)
#   LIMIT         most seconds that one call may take (default: 1800)
#   DEADLINE      most seconds for all of them (default: 4200); the doctor has ten minutes of its own after that
set -eu

say() { printf '%s\n' "$*"; }

die() {
  say "FAILED: $*" >&2
  exit 1
}

# Before anything is run, and before the function of this name. Rules are checked without Azure.
case ${1:-} in
  rules) ;;
  *) command -v az > /dev/null || die "no \`az\` on the PATH, which is \`$PATH\`: install the Azure CLI (https://learn.microsoft.com/cli/azure/install-azure-cli)"
    : "${GROUP:?name the resource group by the variable GROUP}" ;;
esac
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
SUBSCRIPTION=${SUBSCRIPTION:-}
PARAMETERS=${PARAMETERS:-$here/params/dev.bicepparam}
ZIP=${ZIP:-$here/../target/scorekeeper.zip}
DOCTOR=${DOCTOR:-}
PAUSE=${PAUSE:-60}
TRIES=${TRIES:-10}
LIMIT=${LIMIT:-1800}
DEADLINE=${DEADLINE:-4200}

# What would stop it halfway, or have it repeat without an end, is said before anything is asked or changed.
whole() {
  case $2 in
    '' | *[!0-9]* | 0?* | ??????????*) die "$1 is \`$2\`: give it a whole number below 1000000000, for example $1=$3" ;;
  esac
}
is_file() { if [ ! -f "$2" ]; then die "$1 is \`$2\`, and there is no such file: $3"; fi; }
needs_parameters() { is_file PARAMETERS "$PARAMETERS" 'name the parameter file of the environment, for example PARAMETERS=infra/params/dev.bicepparam'; }
needs_zip() { is_file ZIP "$ZIP" 'make the package (cargo xtask package), or name that of a release'; }
has_doctor() { command -v "$DOCTOR" > /dev/null; }
needs_doctor() {
  if [ -n "$DOCTOR" ] && ! has_doctor; then
    die "DOCTOR is \`$DOCTOR\`, and that cannot be run: take the executable out of the package (unzip -o $ZIP scorekeeper -d target/doctor), or leave DOCTOR empty"
  fi
}
whole PAUSE "$PAUSE" 60
whole TRIES "$TRIES" 10
whole LIMIT "$LIMIT" 1800
whole DEADLINE "$DEADLINE" 4200
case ${1:-} in
  what-if | roles) needs_parameters ;;
  rules) needs_parameters && needs_doctor ;;
  all) needs_parameters && needs_zip && needs_doctor ;;
  code) needs_zip && needs_doctor ;;
  events | doctor) needs_doctor ;;
esac

ends=$(($(date +%s) + DEADLINE))
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
app=''
site=''

# Nothing may be waited for for ever: config-zip does not end when the host does not answer. 124: the time is over.
limited() {
  seconds=$((ends - $(date +%s)))
  if [ "$seconds" -gt "$LIMIT" ]; then seconds=$LIMIT; fi
  if [ "$seconds" -le 0 ]; then return 124; fi
  code=0
  if command -v timeout > /dev/null; then
    timeout -k 10 "$seconds" "$@" || code=$?
  else
    "$@" &
    step=$!
    (sleep "$seconds" && kill "$step") > /dev/null 2>&1 &
    watch=$!
    wait "$step" || code=$?
    kill "$watch" 2> /dev/null || true
  fi
  # What a signal ended, or what did not even heed it.
  if [ "$code" -gt 128 ]; then code=124; fi
  return "$code"
}

# Every call of az: limited, in the chosen subscription, with its errors kept in $scratch/why and shown if it fails.
az() {
  case $1 in
    bicep | rest) ;; # files, and URLs that name their subscription
    *) if [ -n "$SUBSCRIPTION" ]; then set -- "$@" --subscription "$SUBSCRIPTION"; fi ;;
  esac
  code=0
  limited env az "$@" 2> "$scratch/why" || code=$?
  if [ "$code" -eq 124 ]; then say "no answer in time: az $1 $2 $3" >> "$scratch/why"; fi
  if [ "$code" -ne 0 ]; then cat "$scratch/why" >&2; fi
  return "$code"
}

# A broken rules file is told of before anything is asked of Azure, where the command line is there.
rules() {
  if [ -z "$DOCTOR" ]; then return 0; fi
  if ! has_doctor; then
    say "the rules are not checked: there is no $DOCTOR yet"
    return 0
  fi
  file=$(tr -d '\r' < "$PARAMETERS" | sed -n "s/^param rules = loadJsonContent('\([^']*\)').*/\1/p")
  if [ -z "$file" ]; then
    say "the rules are not checked: $PARAMETERS does not read them from a file (param rules = loadJsonContent('FILE'))"
    return 0
  fi
  file=$(dirname -- "$PARAMETERS")/$file
  "$DOCTOR" rules check "$file" || die "the rules of $file, with the reasons above: correct the file and repeat; nothing was asked of Azure or changed"
}

why() { grep -q -E "$1" "$scratch/why"; }

# Waits for another try, with the reason; fails when the tries or the time are used up.
again() {
  if [ "$try" -ge "$TRIES" ] || [ $(($(date +%s) + PAUSE)) -ge "$ends" ]; then return 1; fi
  say "$*: try $try of $TRIES"
  try=$((try + 1))
  sleep "$PAUSE"
}

# What stage 1 gave out. A deployment that failed gives out nothing, also where an earlier one has made an app.
told_by_stage_1() {
  told=$(az deployment group show --resource-group "$GROUP" --name scorekeeper --output tsv \
    --query 'properties.outputs.[functionAppName.value, functionAppResourceId.value, stateAccountName.value, applicationInsightsName.value, identityPrincipalId.value, events.value.parameters.installation.value.deliveryMode]') || return 1
  { read -r app && read -r site && read -r state && read -r insights && read -r identity && read -r mode; } << END
$told
END
}

know_the_app() {
  told_by_stage_1 || die 'no deployment `scorekeeper` in this group has succeeded last: run stage 1 first (infra/deploy.sh all)'
  case $mode in
    storageQueue) event=BlobCreatedFromQueue ;;
    *) event=BlobCreated ;;
  esac
}

# Whole strings of a JSON file that fit a pattern.
strings() { tr '"' '\n' < "$1" | grep -i -x "$2" | sort -u || true; }

ids() { strings "$1" "/subscriptions/.*/providers/$2/[^/]*"; }

# Roles on a scope that somebody else gave to one of $principals: the templates give the same ones under names of their own, and
# Azure refuses a second one (RoleAssignmentExists). Those of the templates are known by their description.
template_roles="contains(['AzureML Data Scientist', 'Monitoring Metrics Publisher', 'Storage Blob Data Contributor', 'Storage Blob Data Owner', 'Storage Blob Data Reader', 'Storage Queue Data Contributor', 'Storage Queue Data Message Sender', 'Storage Table Data Contributor'], roleDefinitionName)"
template_made="starts_with(description || '', 'Function app on') || starts_with(description || '', 'Compute cluster on') || starts_with(description || '', 'Event Grid topic on')"
by_hand() {
  az role assignment list --scope "$1" --fill-principal-name false --query "[?$template_roles && !($template_made)].[principalId, id, roleDefinitionName]" --output tsv > "$scratch/given" 2> /dev/null || {
    say "not looked at for roles given by hand: $1"
    return 0
  }
  while read -r principal id role; do
    case " $principals " in
      *" $principal "*)
        say "given by hand, and in the way of the template's own (RoleAssignmentExists): $role on $1 to $principal"
        say "  remedy: az role assignment delete --ids $id${2:-}"
        ;;
    esac
  done < "$scratch/given"
}

# Before the first deployment too, when people have prepared accounts and workspaces: whom and where is in the parameter file.
roles() {
  told_by_stage_1 2> /dev/null || identity=''
  if ! az bicep build-params --file "$PARAMETERS" --outfile "$scratch/parameters.json" > /dev/null; then
    say "not looked at for roles given by hand: $PARAMETERS"
    return 0
  fi
  # Clusters; an identity that is given; the app's own one, which cannot have got a role before it was made.
  principals=$(strings "$scratch/parameters.json" '[0-9a-f]\{8\}-[0-9a-f-]\{27\}' | tr '\n' ' ')
  for given in $(ids "$scratch/parameters.json" Microsoft.ManagedIdentity/userAssignedIdentities); do
    principals="$principals $(az rest --method get --url "$given?api-version=2024-11-30" --query properties.principalId --output tsv || true)"
  done
  principals="$principals $identity"
  # What is left to others is in nobody's way.
  flat=$(tr -d ' \r\n' < "$scratch/parameters.json")
  left=$(printf '%s\n' "$flat" | sed -n 's/.*"roleAssignmentScopes":\[\([^]]*\)\].*/\1/p' | tr '[:upper:]",' '[:lower:]  ')
  accounts=$(ids "$scratch/parameters.json" Microsoft.Storage/storageAccounts)
  workspaces=$(ids "$scratch/parameters.json" Microsoft.MachineLearningServices/workspaces)
  case $flat in *'"assign":false'*) accounts='' ;; esac
  case $flat in *'"mlAccess":{"value":"none"}'*) workspaces='' ;; esac
  for scope in $accounts $workspaces; do
    case " $left " in *" $(printf '%s\n' "$scope" | tr '[:upper:]' '[:lower:]') "*) continue ;; esac
    by_hand "$scope" "; or leave to its giver what is given there: existing.roleAssignmentScopes in $PARAMETERS"
  done
  if [ -z "$identity" ]; then return 0; fi
  ours=${site%/Microsoft.Web/*}
  by_hand "$ours/Microsoft.Storage/storageAccounts/$state"
  by_hand "$ours/Microsoft.Insights/components/$insights"
  if [ "$mode" = storageQueue ]; then topic_roles "$scratch/parameters.json"; fi
}

# The same for topics, whose roles are on parts of the state account. One that is made has its name from the account.
topic_roles() {
  principals=''
  made=$(ids "$1" Microsoft.Storage/storageAccounts | tr '[:upper:]' '[:lower:]' | sed 's|/microsoft.storage/storageaccounts/|/Microsoft.EventGrid/systemTopics/evgt-|')
  for topic in $(ids "$1" Microsoft.EventGrid/systemTopics) $made; do
    principals="$principals $(az rest --method get --url "$topic?api-version=2025-02-15" --query identity.principalId --output tsv 2> /dev/null || true)"
  done
  account=${site%/Microsoft.Web/*}/Microsoft.Storage/storageAccounts/$state
  by_hand "$account/blobServices/default/containers/dead-letters"
  if [ "$mode" = storageQueue ]; then by_hand "$account/queueServices/default/queues/blob-events"; fi
}

stage_1() {
  roles
  say "stage 1: $PARAMETERS"
  if az deployment group create --resource-group "$GROUP" --name scorekeeper --parameters "$PARAMETERS" --output none; then return 0; fi
  if why RoleAssignmentExists; then
    die 'somebody gave a role by hand that the template gives. Delete that assignment (its id is above: az role assignment delete --ids ID) and repeat; or let its giver keep it, for one account or workspace by existing.roleAssignmentScopes, for all by dataAccess.assign: false and mlAccess: none'
  fi
  die 'stage 1, with the reason above'
}

# Nothing may be sent to an app that cannot take it: a stopped app answers 403, and Event Grid was seen to dead-letter at once.
reachable() {
  # For Flex Consumption the CLI gives out what Resource Manager answers, for other plans a flat object.
  running=$(az functionapp show --resource-group "$GROUP" --name "$app" --query 'properties.state || state' --output tsv) || die 'the app cannot be looked at'
  if [ -z "$running" ]; then
    die "Azure tells no state of the app $app, so it may be stopped, and its events be dead-lettered: see what it is (az functionapp show --resource-group $GROUP --name $app), and repeat"
  fi
  if [ "$running" = Stopped ]; then
    die "the app is stopped: its events are refused with 403 and may be dead-lettered at once. Start it (az functionapp start --resource-group $GROUP --name $app); to pause, say instead: scorekeeper pause --all --reason WHY --ledger URL --task-hub NAME, which are the outputs ledgerUrl and taskHub of stage 1"
  fi
  covered=$(az rest --method get --url "$site/config/authsettingsV2?api-version=2024-11-01" --query "properties.platform.enabled && !contains(properties.globalValidation.excludedPaths || \`[]\`, '/runtime/*')" --output tsv) || die 'the app'\''s authentication cannot be looked at'
  if [ "$covered" = true ]; then
    die 'App Service Authentication covers /runtime/*, so Event Grid is answered 401: exclude /runtime/* and /admin/* (app.authentication does)'
  fi
}

code() {
  say "code: $ZIP"
  try=1
  while :; do
    code=0
    az functionapp deployment source config-zip --resource-group "$GROUP" --name "$app" --src "$ZIP" --output none || code=$?
    if [ "$code" -eq 0 ]; then break; fi
    if [ "$code" -eq 124 ]; then
      # It waits for an answer of the host, which may never be 2xx; the package can be there all the same.
      say 'config-zip did not end; whether the functions are there is looked at now'
      break
    fi
    # Newer ones give up looking at the host after 15 tries, or may not ask for its key: the upload had ended well by then.
    if why 'Deployment was successful but the app appears to be unhealthy|Failed to fetch host key to check for function app status'; then
      say 'the package is there, and config-zip does not know whether the app is well; whether the functions are there is looked at now'
      break
    fi
    # Whole sentences and codes: an id may hold a 403 too.
    if why "InaccessibleStorageException|success: 403 |[Ss]tatus [Cc]ode:? 403|['\"(]Forbidden['\")]"; then
      # The app's roles on its storage are minutes old.
      again 'the app may not read its storage yet (new roles take minutes)' || die "the code was refused $try times: does the app's identity have its roles on the state account?"
    elif why 'There may be an ongoing deployment|Failed to retrieve deployment status|Deployment was partially successful|[Ss]tatus [Cc]ode:? (409|5[0-9][0-9])'; then
      again 'the platform is busy, with the reason above' || die "the code was not taken in $try tries, with the reason above: wait until no other deployment runs, and repeat"
    else
      die 'the code, with the reason above'
    fi
  done
  listed
}

# Flex Consumption often lists WarmUp alone until it is told to look (azure-functions-host 10169).
listed() {
  try=1
  while :; do
    az rest --method post --url "$site/host/default/sync?api-version=2024-11-01" --output none || say 'the triggers were not synchronised'
    names=$(az functionapp function list --resource-group "$GROUP" --name "$app" --query '[].name' --output tsv) || names=''
    missing=''
    for name in Reconcile "$event"; do
      printf '%s\n' "$names" | grep -q "/$name\$" || missing="$missing $name"
    done
    if [ -z "$missing" ]; then
      say "functions: Reconcile, $event"
      return 0
    fi
    again "not listed yet:$missing" || die "the platform does not list$missing: the package or its start is at fault; see the app's log"
  done
}

events() {
  if [ "$mode" = storageQueue ]; then
    say 'stage 2: none with queue delivery'
    return 0
  fi
  say 'stage 2'
  az deployment group show --resource-group "$GROUP" --name scorekeeper --query properties.outputs.events.value --output json > "$scratch/events.parameters.json" || die 'stage 1 has told no parameters of stage 2'
  topic_roles "$scratch/events.parameters.json"
  try=1
  until az deployment group create --resource-group "$GROUP" --name scorekeeper-events --template-file "$here/events.bicep" --parameters "@$scratch/events.parameters.json" --output none; do
    why 'RoleAssignmentExists' && die 'somebody gave a role by hand that the template gives: delete that assignment (its id is above: az role assignment delete --ids ID) and repeat'
    # Event Grid does not see the function yet, or the topic's new identity or roles are not known everywhere.
    why 'Endpoint validation|[Ee]ndpoint not found|validate the provided|(["(]|Code: )(NotFound|ResourceNotFound|PrincipalNotFound|Forbidden)([\")]|$)' || die 'stage 2, with the reason above'
    again 'Event Grid does not see everything yet' || die "stage 2 was refused $try times"
  done
}

what_if() {
  roles
  say 'stage 1, what would change (role assignments, workbook and subscriptions cannot be named before they are made):'
  # Its level: it asks for the right to read, and not to write, so that who looks need not be able to deploy.
  az deployment group what-if --resource-group "$GROUP" --name scorekeeper --parameters "$PARAMETERS" --validation-level ProviderNoRbac || die 'the look, with the reason above'
  # Its parameters are outputs of the stage 1 that is only being looked at: those of the last one would show the last change again.
  say 'stage 2 (topics, their subscriptions, roles and alerts) is made of what stage 1 gives out, and cannot be looked at before: it follows rules and watchedAccounts of the parameter file'
}

# What stage 1 told; after one that failed, whatever app of ours an earlier one has left in the group.
doctor() {
  if [ -z "$DOCTOR" ]; then return 0; fi
  ends=$(($(date +%s) + 600))
  apps=$site
  if [ -z "$apps" ]; then
    apps=$(az functionapp list --resource-group "$GROUP" --query '[].id' --output tsv) || apps=''
  fi
  wrong=0
  seen=''
  for one in $apps; do
    az functionapp config appsettings list --resource-group "$GROUP" --name "${one##*/}" --output json > "$scratch/settings.json" || continue
    if ! grep -q '"SCOREKEEPER_' "$scratch/settings.json"; then continue; fi
    seen=$one
    code=0
    limited "$DOCTOR" doctor --settings "$scratch/settings.json" --app "$one" || code=$?
    # 2: nothing is wrong, not everything could be seen. Who deploys may not see everything.
    if [ "$code" -ne 0 ] && [ "$code" -ne 2 ]; then wrong=1; fi
  done
  # Nothing seen is nothing proved.
  if [ -z "$seen" ]; then
    say 'the doctor has nothing to look at: no app of this group could be found, or its settings not be read (Microsoft.Web/sites/config/list/action, part of Website Contributor)'
    wrong=1
  fi
  return "$wrong"
}

# After a failure too: it says what fixes it.
finish() {
  ended=$?
  trap - EXIT
  doctor || { if [ "$ended" -eq 0 ]; then ended=1; fi; }
  rm -rf "$scratch"
  exit "$ended"
}

needs_a_name() { if [ -z "$DOCTOR" ]; then die 'DOCTOR must name the scorekeeper that looks, for example DOCTOR=target/app/scorekeeper'; fi; }

case ${1:-} in
  what-if) rules; what_if ;;
  rules) needs_a_name; rules ;;
  roles) rules; roles ;;
  all) rules; trap finish EXIT; stage_1; know_the_app; reachable; code; events ;;
  code) trap finish EXIT; know_the_app; reachable; code ;;
  events) trap finish EXIT; know_the_app; reachable; listed; events ;;
  doctor) needs_a_name; trap finish EXIT; told_by_stage_1 || true ;;
  *) die 'one of: what-if, all, rules, roles, code, events, doctor' ;;
esac
