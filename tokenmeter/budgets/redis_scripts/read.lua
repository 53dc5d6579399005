-- ARGV: prefix, series, bucket, span.
sweep(now_ms())
local series, bucket, span = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local spent, held = sums(series, ARGV[3], span)
local lost, calls = 0, 0
for at = bucket - span + 1, bucket do
  local values = redis.call('HMGET', key_of(series), 'l:' .. text(at), 'n:' .. text(at))
  lost, calls = lost + (tonumber(values[1] or 0) or 0), calls + (tonumber(values[2] or 0) or 0)
end
return {text(spent), text(held), text(lost), text(calls)}
