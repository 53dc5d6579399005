-- ARGV: prefix, then the charges.
return charge(2, now_ms())
