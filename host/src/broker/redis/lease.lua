-- KEYS: lease, hosts, stream, retry stream; ARGV: verb, consumer, ttl in ms, group
-- A host is `live` from `register` until somebody takes over from it (`fenced`) or it leaves (`closed`).
local verb, consumer, ttl, group = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if verb == 'register' then
  redis.call('HSET', KEYS[2], consumer, 'live')
  redis.call('SET', KEYS[1], consumer, 'PX', ttl)
  return 1
end
if redis.call('HGET', KEYS[2], consumer) ~= 'live' then
  return 0
end
if verb == 'renew' then
  -- A server that is full (`maxmemory`, `noeviction`) refuses SET, and takes PEXPIRE.
  if redis.call('PEXPIRE', KEYS[1], ttl) == 0 then
    -- It ran out, and nobody has taken over: everything in hand is still ours.
    redis.call('SET', KEYS[1], consumer, 'PX', ttl)
  end
  return 1
end
-- close
redis.call('DEL', KEYS[1])
local left = 0
for i = 3, 4 do
  local rows = redis.pcall('XPENDING', KEYS[i], group, '-', '+', 1, consumer)
  if not rows.err then
    if #rows == 0 then
      redis.pcall('XGROUP', 'DELCONSUMER', KEYS[i], group, consumer)
    else
      left = left + 1
    end
  end
end
if left == 0 then
  redis.call('HDEL', KEYS[2], consumer)
else
  -- Where the server is full, those who take over count a crash.
  redis.pcall('HSET', KEYS[2], consumer, 'closed')
end
return 1
