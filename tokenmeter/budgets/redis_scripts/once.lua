-- ARGV: prefix, key, until when it is remembered.
local key, now, ends = prefix .. 'o:' .. ARGV[2], now_ms(), tonumber(ARGV[3])
if (tonumber(redis.call('GET', key)) or 0) > now then return 0 end
redis.call('SET', key, text(ends), 'PX', text(math.max(1, math.min(ends - now, 400 * 86400000) + 60000)))
return 1
