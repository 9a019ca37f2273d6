-- Carries out transactions: the meaning of src/transaction.rs on Redis. It changes when that language does, not when a rule does.
--
-- KEYS: the records of all transactions, one after the other. ARGV[1]: MessagePack, as redis/encode.rs writes it, of one flat
-- list, because building a table for each part takes longer than carrying out what it says:
--   { now or false for the server's time, transaction ... }       records are named by place, from 1
--   transaction = length of what follows, number of records, record ..., of guards, guard ..., of options, option ...
--   record = 1 (hash), read, length of what follows, { field it starts with, value } ... | kind, read, limit, after or unless_applied
--   guard = code, record, ... | 5, linear | 8, n (now + n is not above 0) | 9, n (n - now is not)   write = code, record, ...
--   option = length of what follows, guards, guard ..., writes, write ...
--   value = text | number | true, 0, n (now + n) | true, how many, linear ...      linear = terms, constant, coefficient of now, { coefficient, record, field } ...
-- Answer, as redis/decode.rs reads it, one text of MessagePack values: now, then for each transaction { 0, option } | { 1, guard
-- or -1 } | { 2, 0 }, each followed by the records, or { 3, fault }. A hash that an earlier transaction of the call was told is
-- told as true and a list of the fields that are new since.
--
-- A script's error does not undo its writes. So each transaction is worked out whole, its types and ranges checked, before
-- it writes anything; and a fault in one (pcall) neither hides nor undoes the others.

local call, find, sub, concat, pack, unpack = redis.call, string.find, string.sub, table.concat, cmsgpack.pack, unpack
local HASH, PACKED, INDEX, LOG = 1, 2, 3, 4
local LIMIT, EXACT = 2 ^ 46, 2 ^ 53
local NOT_READ, NOTHING, AS_TOLD_BUT, AS_TOLD = pack(0), pack(false), pack(true), pack(true, {})

local keys, input, p = KEYS, cmsgpack.unpack(ARGV[1]), 2
local now, server_time = input[1], false
if not now then
  local time = call('TIME')
  now, server_time = time[1] * 1000 + math.floor(time[2] / 1000), true
end

-- Raised when a guard, a write or an expression counts on what is not there.
local MISSING = {}

-- Hashes that were loaded, by key: `kept` says whether the key is there; `flat` are the fields, as HGETALL gives them, if the record
-- exists, and those that were counted with as numbers; `told` whether the answer has them, and `news` what of them was new since.
-- `unwritten` fields are written once, when all that the call carries out is known, and with them how long the key is kept.
local hashes = {}
-- Indexes and logs that are what they should be, by key.
local checked = {}

-- Tables that every transaction uses again, as making them takes longer than what is done with them: with room for its records.
local function by_place() return { nil, nil, nil, nil, nil, nil, nil, nil, nil, nil } end

-- The transaction at work: how many records it has, and by place of the record, where it is described, a hash's fields as guards
-- and writes see them, the value of a packed one, whether it exists.
local offset, count = 0, 0
local described, flat, value_of, present = by_place(), by_place(), by_place(), by_place()
-- What an option makes of the records: `new` fields of a hash, over those that stay; `put` the same for a packed record. `wiped`
-- keys are deleted first. `lists` are the commands on indexes and logs.
local wiped, new, put, put_purge, lists = by_place(), by_place(), by_place(), by_place(), nil

local function fault(reason) error(reason, 0) end

local function kept_number(n)
  if n >= LIMIT or n <= -LIMIT then fault('a number is out of range') end
  return n
end

local function parse(text)
  if not find(text, '^%-?[1-9]%d*$') and text ~= '0' then fault('a field that counts is no integer') end
  return kept_number(tonumber(text))
end

local function in_range(n)
  if n >= EXACT or n <= -EXACT then fault('an expression is out of range') end
  return n
end

-- Where among fields the value of one is. Records are small: a search takes less than a table of places would.
local function place_in(fields, field)
  for j = 1, #fields, 2 do
    if fields[j] == field then return j + 1 end
  end
end

local function field_of(i, field)
  local fields = flat[i]
  local place = fields and place_in(fields, field)
  if not place then error(MISSING) end
  return fields[place], fields, place
end

local function number_of(i, field)
  local n, fields, place = field_of(i, field)
  if type(n) ~= 'number' then
    n = parse(n)
    fields[place] = n
  end
  return n
end

local function linear()
  local first, sum, coefficient = p + 3, input[p + 1], input[p + 2]
  p = first + 3 * input[p]
  if coefficient ~= 0 then
    sum = in_range(sum + in_range(coefficient * now))
  end
  for q = first, p - 1, 3 do
    local product = input[q] * number_of(input[q + 1], input[q + 2])
    sum = sum + product
    -- As in_range does it, without two calls for each of the many.
    if product >= EXACT or product <= -EXACT or sum >= EXACT or sum <= -EXACT then in_range(EXACT) end
  end
  return sum
end

-- A number, or a text.
local function value()
  local v = input[p]
  p = p + 1
  if type(v) == 'string' then return v end
  if v == true then
    local last = input[p]
    if last == 0 then
      v, p = now + input[p + 1], p + 2
    else
      p = p + 1
      v = linear()
      for _ = 2, last do
        local other = linear()
        if other > v then v = other end
      end
    end
  end
  return kept_number(v)
end

local function load_hash(i, key)
  local hash = hashes[key]
  if not hash then
    local reply = call('HGETALL', key)
    hash = { kept = #reply > 0 }
    if hash.kept then
      local place = place_in(reply, 'purge_at')
      if not place or parse(reply[place]) > now then hash.flat = reply end
    end
    hashes[key] = hash
  end
  local beyond = p + 3 + input[p + 2]
  flat[i], present[i] = hash.flat, hash.flat and true
  if not hash.flat and p + 3 < beyond then
    local fields = {}
    p = p + 3
    while p < beyond do
      local place = #fields + 1
      fields[place] = input[p]
      p = p + 1
      fields[place + 1] = value()
    end
    flat[i] = fields
  end
  p = beyond
end

local function load_packed(i, key)
  flat[i], value_of[i], present[i] = nil, nil, nil
  local reply = call('GET', key)
  if reply then
    local bar = find(reply, '|', 1, true)
    if not bar then fault('a packed record has no purge time') end
    local purge_at = parse(sub(reply, 1, bar - 1))
    if purge_at == 0 or purge_at > now then value_of[i], present[i] = sub(reply, bar + 1), true end
  end
end

local function load()
  count = input[p]
  for i = 1, count do
    p = p + 1
    described[i] = p
    local kind = input[p]
    if kind == HASH then
      load_hash(i, keys[offset + i])
      p = p - 1
    else
      if kind == PACKED then
        load_packed(i, keys[offset + i])
      else
        flat[i], present[i] = nil, nil
      end
      p = p + 3
    end
  end
  p = p + 1
end

local function guard()
  local code, i = input[p], input[p + 1]
  if code == 8 then
    p = p + 2
    return in_range(now + i) <= 0
  elseif code == 9 then
    p = p + 2
    return in_range(i - now) <= 0
  elseif code == 5 then
    p = p + 1
    return linear() <= 0
  elseif code == 4 then
    p = p + 4
    local found = field_of(i, input[p - 2])
    if type(found) == 'number' then found = found .. '' end
    return found == input[p - 1]
  elseif code == 3 then
    p = p + 3
    return value_of[i] == input[p - 1]
  end
  p = p + 2
  if code == 1 then
    return not present[i]
  elseif code == 2 then
    return present[i] or false
  elseif code == 6 then
    local first = call('ZRANGE', keys[offset + i], 0, 0, 'WITHSCORES')
    return not first[2] or tonumber(first[2]) > now
  end
  local last = call('ZRANGE', keys[offset + i], -1, -1, 'WITHSCORES')
  return not last[2] or tonumber(last[2]) <= now
end

local function set_field(fields, field, v)
  local place = place_in(fields, field)
  if not place then
    place = #fields + 2
    fields[place - 1] = field
  end
  fields[place] = v
end

local function new_field(i, field, v)
  if new[i] then set_field(new[i], field, v) else new[i] = { field, v } end
end

local function add(i, field, n)
  local fields = new[i]
  local place, found = fields and place_in(fields, field), nil
  if place then
    found = fields[place]
    if type(found) ~= 'number' then found = parse(found) end
  else
    if wiped[i] or not present[i] then error(MISSING) end
    found = number_of(i, field)
  end
  new_field(i, field, found + n)
end

local function append()
  local key, keep, fields = keys[offset + input[p + 1]], input[p + 2], input[p + 3]
  local command = { 'XADD', key }
  if keep then command[3], command[4] = 'MAXLEN', keep end
  command[#command + 1] = '*'
  p = p + 4
  for _ = 1, fields do
    command[#command + 1] = input[p]
    p = p + 1
    command[#command + 1] = value()
  end
  return command
end

local function write()
  local code, i = input[p], input[p + 1]
  if code <= 2 then
    if code == 1 or new[i] or present[i] and not wiped[i] then add(i, input[p + 2], input[p + 3]) end
    p = p + 4
  elseif code == 3 then
    local field = input[p + 2]
    p = p + 3
    new_field(i, field, value())
  elseif code == 4 then
    local parts = {}
    local last = input[p + 2]
    p = p + 3
    for j = 1, last do parts[j] = value() end
    put[i] = concat(parts)
    if input[p] then put_purge[i] = value() else p, put_purge[i] = p + 1, 0 end
  elseif code == 5 then
    new[i], put[i], wiped[i] = nil, nil, true
    if input[described[i]] == LOG then lists[#lists + 1] = { 'DEL', keys[offset + i] } end
    p = p + 2
  elseif code == 6 then
    local member = input[p + 2]
    p = p + 3
    lists[#lists + 1] = { 'ZADD', keys[offset + i], value(), member }
  elseif code == 7 then
    lists[#lists + 1] = { 'ZREM', keys[offset + i], input[p + 2] }
    p = p + 3
  else
    lists[#lists + 1] = append()
  end
end

-- Works out what an option makes of the records, and finds every fault that a command could otherwise still raise.
local function plan()
  lists = {}
  for i = 1, count do
    wiped[i], put[i] = nil, nil
    new[i] = flat[i] and not present[i] and { unpack(flat[i]) } or nil
  end
  local last = input[p]
  p = p + 1
  for _ = 1, last do write() end
  for i = 1, count do
    local kind, fields = input[described[i]], new[i]
    if kind == HASH then
      if fields then
        for j = 1, #fields, 2 do
          local v = fields[j + 1]
          if type(v) == 'number' then
            kept_number(v)
          elseif fields[j] == 'purge_at' then
            parse(v)
          end
        end
      end
    elseif kind ~= PACKED then
      local key = keys[offset + i]
      if not checked[key] then
        call(kind == INDEX and 'ZCARD' or 'XLEN', key)
        checked[key] = true
      end
    end
  end
end

-- Sets these fields among all of them.
local function merge(all, fields)
  for j = 1, #fields, 2 do set_field(all, fields[j], fields[j + 1]) end
end

-- With an injected clock the server's own says nothing about when a key should go, so it keeps it.
local function write_hash(key, fields)
  call('HSET', key, unpack(fields))
  local place = server_time and place_in(fields, 'purge_at')
  if place then call('PEXPIRE', key, tonumber(fields[place]) - now) end
end

-- Whether a hash was written. A server that cannot write now says so to a script's first write, and refuses none after it: so until
-- then a hash is written at once, before anything is made of its fields, and later ones can wait.
local proven = false

local function apply_hash(i, key)
  local hash, fields = hashes[key], new[i]
  if wiped[i] or fields and not present[i] and hash.kept then
    call('DEL', key)
    hash.kept, hash.flat, hash.unwritten = false, nil, nil
  end
  hash.told = hash.told and hash.flat and not hash.news
  if not fields then return end
  if not proven then
    write_hash(key, fields)
    proven = true
  elseif hash.unwritten then
    merge(hash.unwritten, fields)
  else
    hash.unwritten = { unpack(fields) }
  end
  hash.kept, hash.news = true, fields
  if hash.flat then merge(hash.flat, fields) else hash.flat = fields end
  local place = place_in(fields, 'purge_at')
  if place and tonumber(fields[place]) <= now then hash.flat, hash.told = nil, false end
end

local function write_hashes()
  for key, hash in pairs(hashes) do
    if hash.unwritten then write_hash(key, hash.unwritten) end
  end
end

local function apply_packed(i, key)
  local purge_at = put_purge[i]
  if put[i] and (purge_at == 0 or purge_at > now) then
    local content = purge_at .. '|' .. put[i]
    if purge_at ~= 0 and server_time then
      call('SET', key, content, 'PX', purge_at - now)
    else
      call('SET', key, content)
    end
    value_of[i], present[i] = put[i], true
  elseif put[i] or wiped[i] then
    call('DEL', key)
    value_of[i], present[i] = nil, false
  end
end

local function apply()
  for i = 1, count do
    local kind = input[described[i]]
    if kind == HASH then
      if new[i] or wiped[i] then apply_hash(i, keys[offset + i]) end
    elseif kind == PACKED then
      apply_packed(i, keys[offset + i])
    end
  end
  for j = 1, #lists do call(unpack(lists[j])) end
end

local function members_after(key, member, limit)
  local from = member == '' and '-' or '(' .. member
  local members = call('ZRANGEBYLEX', key, from, '+', 'LIMIT', 0, limit)
  -- All scores of such an index are equal.
  local score = members[1] and call('ZSCORE', key, members[1])
  local reply = {}
  for j = 1, #members do reply[2 * j - 1], reply[2 * j] = members[j], score end
  return reply
end

local function read_hash(hash)
  if not hash.flat then return NOTHING end
  local news = hash.news
  hash.news = nil
  if not hash.told then
    hash.told = true
    return pack(hash.flat)
  end
  return news and AS_TOLD_BUT .. pack(news) or AS_TOLD
end

local function read(i, applied)
  local d, key = described[i], keys[offset + i]
  local kind, how = input[d], input[d + 1]
  if how == 0 then return NOT_READ end
  local limit, from = input[d + 2], input[d + 3]
  if how == 1 then
    if kind == PACKED then return pack(value_of[i] or false) end
    return read_hash(hashes[key])
  elseif how == 2 and not (applied and from) then
    return pack(limit == 0 and {} or call('ZRANGE', key, 0, limit - 1, 'WITHSCORES'))
  elseif how == 3 then
    return pack(limit == 0 and {} or members_after(key, from, limit))
  elseif how == 4 then
    from = from == '' and '-' or '(' .. from
    return pack(limit == 0 and {} or call('XRANGE', key, from, '+', 'COUNT', limit))
  end
  return NOT_READ
end

-- The place of the guard of `require` being evaluated; -1 after them.
local position

-- What becomes of the transaction, and whether there is something to write.
local function decide()
  local believed = input[p]
  p = p + 1
  for i = 1, believed do
    position = i - 1
    if not guard() then return 1, position end
  end
  position = -1
  local options = input[p]
  p = p + 1
  for i = 1, options do
    local next_option = p + 1 + input[p]
    local holds = true
    p = p + 2
    for _ = 1, input[p - 1] do
      holds = guard()
      if not holds then break end
    end
    if holds then
      -- A dry option makes no record start either.
      if input[p] > 0 then
        plan()
        return 0, i - 1, true
      end
      return 0, i - 1
    end
    p = next_option
  end
  return 2, 0
end

local answer = { pack(now) }

local function tell(code, detail)
  local told = #answer + 1
  answer[told] = pack(code, detail)
  for i = 1, count do answer[told + i] = read(i, code == 0) end
end

local function carry_out()
  load()
  local code, detail, writing = decide()
  if writing then apply() end
  tell(code, detail)
end

while input[p] do
  local beyond, records, told = p + 1 + input[p], input[p + 1], #answer
  p, position = p + 1, -1
  local done, reason = pcall(carry_out)
  if not done and reason == MISSING then done, reason = pcall(tell, 1, position) end
  if not done then
    for j = told + 1, #answer do answer[j] = nil end
    answer[told + 1] = pack(3, type(reason) == 'table' and reason.err or tostring(reason))
    -- What was loaded need not be what is there.
    write_hashes()
    hashes = {}
  end
  offset, p = offset + records, beyond
end
write_hashes()
return concat(answer)
