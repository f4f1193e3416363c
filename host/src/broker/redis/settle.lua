-- KEYS: stream, hosts, attempts, destination…; ARGV: group, me, how many, lowest id, highest id, '1' where nobody else
--   reads the stream (accepted entries are then deleted), then per commit
--   id, 'a' (accept) | 'd' (accept, drop its record) | 'r' attempts after-ms (release), outputs,
--   and per output: index of its key, the command, number of arguments, the arguments.
-- Answers what did not happen: rows of { commit, 'F' } fenced, { commit, 'P', output, error } not published,
-- { commit, 'S', error } not settled; or the status FENCED for all of them. An empty answer: all done.
local stream, hosts, records = KEYS[1], KEYS[2], KEYS[3]
local group, me, many = ARGV[1], ARGV[2], tonumber(ARGV[3])
if redis.call('HGET', hosts, me) ~= 'live' then
  return redis.status_reply('FENCED')
end
-- One look at the whole range finds them all while they complete nearly in order; what it misses is asked singly.
local mine = {}
local rows = redis.pcall('XPENDING', stream, group, ARGV[4], ARGV[5], many + 32, me)
if rows.err then
  -- Without the group nothing is ours. Any other reason (a right that is missing) is told.
  return string.find(rows.err, 'NOGROUP', 1, true) and redis.status_reply('FENCED') or { err = rows.err .. ' (XPENDING)' }
end
for i = 1, #rows do
  mine[rows[i][1]] = true
end
local bad, acks, owners, all = {}, {}, {}, {}
local drops, records_set, releases = {}, {}, {}
local time
local i = 7
for c = 1, many do
  local id, verb = ARGV[i], ARGV[i + 1]
  i = i + 2
  local attempts, after
  if verb == 'r' then
    attempts, after = ARGV[i], tonumber(ARGV[i + 1])
    i = i + 2
  end
  local outputs = tonumber(ARGV[i])
  i = i + 1
  local ours = mine[id] or #redis.call('XPENDING', stream, group, id, id, 1, me) == 1
  local added, refused = {}, not ours
  if not ours then
    bad[#bad + 1] = { c, 'F' }
  end
  for p = 1, outputs do
    local key, count = KEYS[tonumber(ARGV[i])], tonumber(ARGV[i + 2])
    if not refused then
      local said = put(added, ARGV[i + 1], key, i + 3, i + 2 + count)
      if said then
        take_back(added)
        added, refused = {}, true
        bad[#bad + 1] = { c, 'P', p, said }
      end
    end
    i = i + 3 + count
  end
  if not refused then
    for k = 1, #added do
      all[#all + 1] = added[k]
    end
    if verb == 'r' then
      if not time then
        time = redis.call('TIME')
        time = time[1] * 1000 + math.floor(time[2] / 1000)
      end
      releases[#releases + 1] = { c, id, attempts .. ' ' .. string.format('%.0f', time + after) }
    else
      acks[#acks + 1] = id
      owners[#owners + 1] = c
      if verb == 'd' then
        drops[#drops + 1] = id
      end
    end
  end
end
if #acks > 0 then
  local answer = redis.pcall('XACK', stream, group, unpack(acks))
  if type(answer) ~= 'table' then
    if ARGV[6] == '1' then
      redis.pcall('XDEL', stream, unpack(acks))
    end
  else
    take_back(all)
    local said = against(answer) .. ' (XACK)'
    for k = 1, #owners do
      bad[#bad + 1] = { owners[k], 'S', said }
    end
    for k = 1, #releases do
      bad[#bad + 1] = { releases[k][1], 'S', said }
    end
    drops, releases = {}, {}
  end
end
if #drops > 0 then
  redis.pcall('HDEL', records, unpack(drops))
end
for k = 1, #releases do
  local release = releases[k]
  local answer = redis.pcall('HSET', records, release[2], release[3])
  if type(answer) == 'table' then
    bad[#bad + 1] = { release[1], 'S', against(answer) .. ' (HSET)' }
  end
end
return left and { err = left } or bad
