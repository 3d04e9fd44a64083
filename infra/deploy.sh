#!/bin/sh
# Deploys an environment: stage 1, the code, stage 2, and the doctor's look at the outcome. The workflow, infra/README.md and azd
# call this one; it may be repeated at any time and goes on from where Azure stands.
#
#   GROUP=rg-scorekeeper-dev infra/deploy.sh what-if | all | code | events | doctor
#
#   GROUP       resource group
#   PARAMETERS  parameter file (default: infra/params/dev.bicepparam)
#   ZIP         the package (default: target/scorekeeper.zip)
#   DOCTOR      a scorekeeper executable that looks at the outcome, also after a failure (default: none)
#   PAUSE       seconds between tries (default: 60); TRIES: how many (default: 10)
#   LIMIT       most seconds that one step may take (default: 1800)
set -eu

: "${GROUP:?name the resource group by the variable GROUP}"
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
PARAMETERS=${PARAMETERS:-$here/params/dev.bicepparam}
ZIP=${ZIP:-$here/../target/scorekeeper.zip}
DOCTOR=${DOCTOR:-}
PAUSE=${PAUSE:-60}
TRIES=${TRIES:-10}
LIMIT=${LIMIT:-1800}
scratch=$(mktemp -d)
app=''
site=''

say() { printf '%s\n' "$*"; }

die() {
  say "FAILED: $*" >&2
  exit 1
}

# A step may not wait for ever: config-zip does when the host does not answer. 124: the time is over.
limited() {
  if command -v timeout > /dev/null; then
    timeout -k 10 "$LIMIT" "$@"
  else
    "$@" &
    step=$!
    (sleep "$LIMIT" && kill "$step") > /dev/null 2>&1 &
    watch=$!
    code=0
    wait "$step" || code=$?
    kill "$watch" 2> /dev/null || true
    if [ "$code" -gt 128 ]; then code=124; fi
    return "$code"
  fi
}

# Runs a step with its errors kept in $scratch/why, which is shown if it fails.
step() {
  code=0
  limited "$@" 2> "$scratch/why" || code=$?
  if [ "$code" -ne 0 ]; then cat "$scratch/why" >&2; fi
  return "$code"
}

why() { grep -q -E "$1" "$scratch/why"; }

output() { step az deployment group show --resource-group "$GROUP" --name scorekeeper --query "properties.outputs.$1" --output "${2:-tsv}"; }

know_the_app() {
  app=$(output functionAppName.value) || die 'there is no deployment `scorekeeper` in this group: run stage 1 first'
  site=$(output functionAppResourceId.value) || die 'stage 1 has told no function app'
  mode=$(output events.value.parameters.installation.value.deliveryMode) || die 'stage 1 has told no way of delivery'
  case $mode in
    storageQueue) event=BlobCreatedFromQueue ;;
    *) event=BlobCreated ;;
  esac
}

# Roles that people gave by hand: the template gives the same ones under names of its own, and Azure refuses a second one.
roles_given_by_hand() {
  principal=$(az deployment group show --resource-group "$GROUP" --name scorekeeper --query properties.outputs.identityPrincipalId.value --output tsv 2> /dev/null) || return 0
  for id in $principal ${COMPUTE_PRINCIPALS:-}; do
    found=$(step az role assignment list --all --assignee "$id" --output tsv --query "[?(roleDefinitionName=='Storage Blob Data Reader' || roleDefinitionName=='AzureML Data Scientist') && !(starts_with(description || '', 'Function app on') || starts_with(description || '', 'Compute cluster on'))].id") || return 0
    if [ -n "$found" ]; then
      say "given by hand, and in the way of the template's own (RoleAssignmentExists):"
      say "$found"
    fi
  done
}

stage_1() {
  roles_given_by_hand
  say "stage 1: $PARAMETERS"
  if step az deployment group create --resource-group "$GROUP" --name scorekeeper --parameters "$PARAMETERS" --output none; then return 0; fi
  if why RoleAssignmentExists; then
    die 'somebody gave a role by hand that the template gives. Delete that assignment (its id is above: az role assignment delete --ids ID) and repeat; or let its giver keep it: dataAccess.assign: false, mlAccess: none'
  fi
  die 'stage 1, with the reason above'
}

# Nothing may be sent to an app that cannot take it: a stopped app answers 403, and Event Grid was seen to dead-letter at once.
reachable() {
  state=$(step az functionapp show --resource-group "$GROUP" --name "$app" --query state --output tsv) || die 'the app cannot be looked at'
  if [ "$state" = Stopped ]; then
    die "the app is stopped: its events are refused with 403 and may be dead-lettered at once. Start it (az functionapp start --resource-group $GROUP --name $app); to pause, set the limit 0 instead: scorekeeper limit 0"
  fi
  open=$(step az rest --method get --url "$site/config/authsettingsV2?api-version=2024-11-01" --query "properties.platform.enabled && !contains(properties.globalValidation.excludedPaths || \`[]\`, '/runtime/*')" --output tsv) || die 'the app'\''s authentication cannot be looked at'
  if [ "$open" = true ]; then
    die 'App Service Authentication covers /runtime/*, so Event Grid is answered 401: exclude /runtime/* and /admin/* (app.authentication does)'
  fi
}

code() {
  say "code: $ZIP"
  try=1
  while :; do
    code=0
    step az functionapp deployment source config-zip --resource-group "$GROUP" --name "$app" --src "$ZIP" --output none || code=$?
    if [ "$code" -eq 0 ]; then break; fi
    if [ "$code" -eq 124 ]; then
      # It waits for an answer of the host, which may never be 2xx; the package can be there all the same.
      say "config-zip did not end within $LIMIT s; whether the functions are there is looked at now"
      break
    fi
    # The app's roles on its storage are minutes old.
    why 'InaccessibleStorage|403|Forbidden' || die 'the code, with the reason above'
    if [ "$try" -ge "$TRIES" ]; then die "the code was refused $TRIES times: does the app's identity have its roles on the state account?"; fi
    say "the app may not read its storage yet (new roles take minutes): try $try of $TRIES"
    try=$((try + 1))
    sleep "$PAUSE"
  done
  listed
}

# Flex Consumption often lists WarmUp alone until it is told to look (azure-functions-host 10169).
listed() {
  try=1
  while :; do
    step az rest --method post --url "$site/host/default/sync?api-version=2024-11-01" --output none || say 'the triggers were not synchronised'
    names=$(step az functionapp function list --resource-group "$GROUP" --name "$app" --query '[].name' --output tsv) || names=''
    missing=''
    for name in Reconcile "$event"; do
      printf '%s\n' "$names" | grep -q "/$name\$" || missing="$missing $name"
    done
    if [ -z "$missing" ]; then
      say "functions: Reconcile, $event"
      return 0
    fi
    if [ "$try" -ge "$TRIES" ]; then die "the platform does not list$missing: the package or its start is at fault; see the app's log"; fi
    say "not listed yet:$missing (try $try of $TRIES)"
    try=$((try + 1))
    sleep "$PAUSE"
  done
}

events() {
  if [ "$mode" = storageQueue ]; then
    say 'stage 2: none with queue delivery'
    return 0
  fi
  say 'stage 2'
  output events.value json > "$scratch/events.parameters.json" || die 'stage 1 has told no parameters of stage 2'
  try=1
  until step az deployment group create --resource-group "$GROUP" --name scorekeeper-events --template-file "$here/events.bicep" --parameters "@$scratch/events.parameters.json" --output none; do
    why 'RoleAssignmentExists' && die 'somebody gave a role by hand that the template gives: delete that assignment (az role assignment list names it) and repeat'
    # Event Grid does not see the function yet, or the topic's new identity or roles are not known everywhere.
    why 'ndpoint|not found|NotFound|PrincipalNotFound|403|Forbidden' || die 'stage 2, with the reason above'
    if [ "$try" -ge "$TRIES" ]; then die "stage 2 was refused $TRIES times"; fi
    say "Event Grid does not see everything yet: try $try of $TRIES"
    try=$((try + 1))
    sleep "$PAUSE"
  done
}

what_if() {
  say 'stage 1, what would change (role assignments, workbook and subscriptions cannot be named before they are made):'
  limited az deployment group what-if --resource-group "$GROUP" --name scorekeeper --parameters "$PARAMETERS"
}

doctor() {
  if [ -z "$DOCTOR" ]; then return 0; fi
  if [ -z "$site" ]; then
    say 'the doctor has nothing to look at: no deployment in this group tells of an app'
    return 0
  fi
  az functionapp config appsettings list --resource-group "$GROUP" --name "$app" --output json > "$scratch/settings.json" || return 0
  code=0
  limited "$DOCTOR" doctor --settings "$scratch/settings.json" --app "$site" || code=$?
  # 2: nothing is wrong, not everything could be seen. Who deploys may not see everything.
  if [ "$code" -eq 2 ]; then code=0; fi
  return "$code"
}

# After a failure too: it says what fixes it.
finish() {
  ended=$?
  trap - EXIT
  doctor || { if [ "$ended" -eq 0 ]; then ended=1; fi; }
  rm -rf "$scratch"
  exit "$ended"
}

case ${1:-} in
  what-if) trap 'rm -rf "$scratch"' EXIT; what_if ;;
  all) trap finish EXIT; stage_1; know_the_app; reachable; code; events ;;
  code) trap finish EXIT; know_the_app; reachable; code ;;
  events) trap finish EXIT; know_the_app; reachable; listed; events ;;
  doctor)
    if [ -z "$DOCTOR" ]; then die 'DOCTOR must name the scorekeeper that looks, for example DOCTOR=target/release/scorekeeper'; fi
    trap finish EXIT
    know_the_app
    ;;
  *) die 'one of: what-if, all, code, events, doctor' ;;
esac
