-- ARGV: prefix, series.
local key = key_of(ARGV[2])
for _, field in ipairs(redis.call('HKEYS', key)) do
  local kind = string.sub(field, 1, 2)
  if kind == 's:' or kind == 'l:' or kind == 'n:' then redis.call('HDEL', key, field) end
end
return 1
