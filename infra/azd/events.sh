#!/bin/sh
# Stage 2, after the code: event subscriptions, from the parameters that stage 1 gave out.
set -eu
: "${AZURE_RESOURCE_GROUP:?run it by azd, which sets this from the outputs of main.bicep}"
: "${AZURE_SUBSCRIPTION_ID:?run it by azd}"
parameters=$(mktemp)
trap 'rm -f "$parameters"' EXIT
az deployment group show --subscription "$AZURE_SUBSCRIPTION_ID" --resource-group "$AZURE_RESOURCE_GROUP" \
  --name scorekeeper --query properties.outputs.events.value --output json > "$parameters"
az deployment group create --subscription "$AZURE_SUBSCRIPTION_ID" --resource-group "$AZURE_RESOURCE_GROUP" \
  --name scorekeeper-events --template-file ../events.bicep --parameters "@$parameters" --output none
