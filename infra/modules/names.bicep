// Names that Azure takes. There are no patterns in Bicep: what is allowed is listed.

@description('Lower-case letters and digits.')
@export()
var lowerCase = 'abcdefghijklmnopqrstuvwxyz0123456789'

@description('Letters.')
@export()
var letters = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'

@description('Letters and digits.')
@export()
var alphanumeric = '${letters}0123456789'

@description('A text without the characters that are not allowed.')
@export()
func only(text string, allowed string) string => join(filter(map(range(0, length(text)), at => substring(text, at, 1)), c => contains(allowed, c)), '')

@description('A name, refused unless its characters are allowed, the first one at that place, and it is not too short or too long.')
@export()
func checked(what string, name string, first string, allowed string, least int, most int) string =>
  only(name, allowed) == name && contains(first, take(name, 1)) && length(name) >= least && length(name) <= most ? name : fail('${what} is ${name}: it takes ${least} to ${most} of the characters ${allowed}, first one of ${first}')
