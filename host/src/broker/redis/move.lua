-- KEYS: from, to (or nothing); ARGV: 'list' | 'zset', where it was, its digest, the command that puts it there (or `look`: nothing
-- is moved), its arguments
-- One step: the item is in exactly one of the two places at any time. It is found by what it is, whatever has moved it
-- meanwhile; of several of the same bytes, one.
local sorted, hint, digest = ARGV[1] == 'zset', tonumber(ARGV[2]), ARGV[3]
local function at(i)
  local value
  if sorted then
    value = redis.call('ZREVRANGE', KEYS[1], i, i)[1]
  else
    value = redis.call('LINDEX', KEYS[1], -1 - i)
  end
  return value and string.sub(redis.sha1hex(value), 1, 16) == digest and value
end
local value
for i = hint, 0, -1 do
  value = at(i)
  if value then
    break
  end
end
local i, length = hint + 1, redis.call(sorted and 'ZCARD' or 'LLEN', KEYS[1])
while not value and i < length do
  value = at(i)
  i = i + 1
end
if not value then
  return 0
end
if ARGV[4] == 'look' then
  return 1
end
if KEYS[2] then
  redis.call(ARGV[4], KEYS[2], unpack(ARGV, 5))
end
if sorted then
  redis.call('ZREM', KEYS[1], value)
else
  redis.call('LREM', KEYS[1], -1, value)
end
return 1
