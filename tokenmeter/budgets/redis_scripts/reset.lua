-- ARGV: prefix, series. What was charged for vanished calls before a reset is not given back after it: field r counts.
local key = key_of(ARGV[2])
for _, field in ipairs(redis.call('HKEYS', key)) do
  local kind = string.sub(field, 1, 2)
  if kind == 's:' or kind == 'l:' or kind == 'n:' then redis.call('HDEL', key, field) end
end
if redis.call('EXISTS', key) == 1 then redis.call('HINCRBY', key, 'r', 1) end
return 1
