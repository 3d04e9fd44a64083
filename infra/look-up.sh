# shellcheck shell=sh
# Looks up what the names in the first block of infra/README.md stand for, and puts it into the two files that are deployed there,
# $PARAMETERS and infra/params/dev.rules.json. It is read by the shell that has the block's variables, `. infra/look-up.sh`, so that
# the page's other commands have what it found: uploads, hierarchical, topic, workspace, outputs, uri, cluster.
az bicep install
az extension add --upgrade --name ml
uploads=$(az storage account show --name "$UPLOADS" --query id --output tsv)
hierarchical=$(az storage account show --name "$UPLOADS" --query "isHnsEnabled || \`false\`" --output tsv)
# Not one that a deployment of this has made. To have none is well, and not the same as a look-up that failed.
if topic=$(az eventgrid system-topic list --query "[?ends_with(source, '/$UPLOADS') && tags.\"made-by\" != 'scorekeeper'].id" --output tsv); then topics=seen; else topics=''; fi
workspace=$(az ml workspace show --name "$WORKSPACE" --resource-group "$ML_GROUP" --query id --output tsv)
outputs=$(az ml workspace show --name "$WORKSPACE" --resource-group "$ML_GROUP" --query storage_account --output tsv)
uri=$(az ml batch-endpoint show --name "$ENDPOINT" --workspace-name "$WORKSPACE" --resource-group "$ML_GROUP" --query scoring_uri --output tsv)
if cluster=$(az ml compute show --name "$CLUSTER" --workspace-name "$WORKSPACE" --resource-group "$ML_GROUP" --query "identity.principal_id || identity.user_assigned_identities[0].principal_id" --output tsv); then clusters=seen; else clusters=''; fi
{ # one command, so that nothing is written if something is not found; topic and the cluster's identity may be empty
: "${uploads:?no storage account UPLOADS is found}" "${hierarchical:?the account UPLOADS cannot be read}"
: "${workspace:?no WORKSPACE is found in ML_GROUP}" "${outputs:?WORKSPACE tells no storage account}" "${uri:?no ENDPOINT is found in WORKSPACE}"
: "${topics:?the system topics cannot be read, so whether UPLOADS has one is not known}" "${clusters:?no CLUSTER is found in WORKSPACE}"
put() { sed "s|$2|$(printf '%s' "$3" | sed 's/[&|\\]/\\&/g')|" "$1" > "$1.new" && mv "$1.new" "$1"; }
put "$PARAMETERS" "^var uploads = .*" "var uploads = '$uploads'"
put "$PARAMETERS" "^var hierarchical = .*" "var hierarchical = $hierarchical"
put "$PARAMETERS" "^var topic = .*" "var topic = '$topic'"
put "$PARAMETERS" "^var workspace = .*" "var workspace = '$workspace'"
put "$PARAMETERS" "^var outputs = .*" "var outputs = '$outputs'"
put "$PARAMETERS" "^var cluster = .*" "var cluster = '$cluster'"
put infra/params/dev.rules.json '"account": "[^"]*"' "\"account\": \"$UPLOADS\""
put infra/params/dev.rules.json '"container": "[^"]*"' "\"container\": \"$CONTAINER\""
put infra/params/dev.rules.json '"prefix": "[^"]*"' "\"prefix\": \"$PREFIX\""
put infra/params/dev.rules.json '"suffix": "[^"]*"' "\"suffix\": \"$SUFFIX\""
put infra/params/dev.rules.json '"uri": "[^"]*"' "\"uri\": \"$uri\""
put infra/params/dev.rules.json '"workspace": "[^"]*"' "\"workspace\": \"$workspace\""
}
