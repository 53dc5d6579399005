-- ARGV: prefix, call, then the charges.
local call = ARGV[2]
if not redis.call('SET', prefix .. 'd:' .. call, '1', 'NX', 'PX', DONE_FOR) then return {'settled'} end
local now = now_ms()
unhold(call)
local lost = redis.call('GET', prefix .. 'w:' .. call)
if lost then
  local seen = {}
  for _, row in ipairs(cjson.decode(lost)) do
    add(row[1], 's', row[2], '-' .. row[4])
    add(row[1], 'l', row[2], '-' .. row[4])
    local id = row[1] .. '\0' .. row[2]
    if not seen[id] then add(row[1], 'n', row[2], -1) end
    seen[id] = true
  end
  redis.call('DEL', prefix .. 'w:' .. call)
end
return {'charged', charge(3, now)}
