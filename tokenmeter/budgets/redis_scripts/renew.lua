-- ARGV: prefix, lease in ms, then calls.
local untilMs = text(now_ms() + tonumber(ARGV[2]))
for i = 3, #ARGV do redis.call('ZADD', LEASES, 'XX', untilMs, ARGV[i]) end
return 1
