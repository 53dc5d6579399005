-- ARGV: prefix, call.
unhold(ARGV[2])
return 1
