// Names that Azure takes. There are no patterns in Bicep: what is allowed is listed.

@description('Lower-case letters and digits.')
@export()
var lowerCase = 'abcdefghijklmnopqrstuvwxyz0123456789'

@description('Letters and digits.')
@export()
var alphanumeric = '${lowerCase}ABCDEFGHIJKLMNOPQRSTUVWXYZ'

@description('A text without the characters that are not allowed.')
@export()
func only(text string, allowed string) string => join(filter(map(range(0, length(text)), at => substring(text, at, 1)), c => contains(allowed, c)), '')

@description('A name, refused unless all its characters are allowed and it is not too short or too long.')
@export()
func checked(what string, name string, allowed string, least int, most int) string =>
  only(name, allowed) == name && length(name) >= least && length(name) <= most ? name : fail('${what} is ${name}: it takes ${least} to ${most} of the characters ${allowed}')
