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

@description('A name, refused unless its characters are allowed, the first and the last one at their places, and it is not too short or too long.')
@export()
func checked(what string, name string, begins string, allowed string, ends string, least int, most int) string =>
  only(name, allowed) == name && length(name) >= least && length(name) <= most && contains(begins, take(name, 1)) && contains(ends, last(name))
    ? name
    : fail('${what} is `${name}`: it takes ${least} to ${most} of the characters `${allowed}`, first one of `${begins}`, last one of `${ends}`')

@description('The items of a list that is written with commas, without the blanks around them.')
@export()
func listed(text string) string[] => filter(map(split(text, ','), item => trim(item)), item => !empty(item))
