-- KEYS: items, kept, due, hosts, held by me, destination…; ARGV: me, how many, then per commit
--   id, 'a' (accept) | 'r' record after-ms (release), outputs,
--   and per output: index of its key, the command, number of arguments, the arguments.
-- Answers what did not happen: rows of { commit, 'F' } fenced, { commit, 'P', output, error } not published; or the status
-- FENCED for all of them. An empty answer: all done.
local items, kept, due, hosts, held = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local me, many = ARGV[1], tonumber(ARGV[2])
if redis.call('HGET', hosts, me) ~= 'live' then
  return redis.status_reply('FENCED')
end
local bad = {}
local now
local i = 3
for c = 1, many do
  local id, verb = ARGV[i], ARGV[i + 1]
  i = i + 2
  local record, after
  if verb == 'r' then
    record, after = ARGV[i], tonumber(ARGV[i + 1])
    i = i + 2
  end
  local outputs = tonumber(ARGV[i])
  i = i + 1
  local added, refused = {}, not redis.call('ZSCORE', held, id)
  if refused then
    bad[#bad + 1] = { c, 'F' }
  end
  for p = 1, outputs do
    local count = tonumber(ARGV[i + 2])
    if not refused then
      local said = put(added, ARGV[i + 1], KEYS[tonumber(ARGV[i])], i + 3, i + 2 + count)
      if said then
        take_back(added)
        refused = true
        bad[#bad + 1] = { c, 'P', p, said }
      end
    end
    i = i + 3 + count
  end
  if not refused then
    redis.call('ZREM', held, id)
    if verb == 'a' then
      redis.call('HDEL', items, id)
      redis.call('HDEL', kept, id)
    else
      if not now then
        local time = redis.call('TIME')
        now = time[1] * 1000 + math.floor(time[2] / 1000)
      end
      redis.call('ZADD', due, string.format('%.0f', now + after), id)
      if record == '' then
        redis.call('HDEL', kept, id)
      else
        redis.call('HSET', kept, id, record)
      end
    end
  end
end
return left and { err = left } or bad
