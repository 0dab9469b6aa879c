-- Claims that are lists, as headers: see claims.py.

local function written(entry)
  if type(entry) == "table" then
    return nil
  end
  return (tostring(entry):gsub("[^ -$&-+--~]", function(c) return string.format("%%%02X", string.byte(c)) end))
end

local function joined(found)
  if type(found) ~= "table" then
    return written(found)
  end
  local entries = {}
  for _, entry in ipairs(found) do
    entries[#entries + 1] = written(entry)
  end
  return table.concat(entries, ",")
end

function envoy_on_request(handle)
  local held = handle:streamInfo():dynamicMetadata():get("envoy.filters.http.jwt_authn")
  local payload = held and held["payload"]
  if type(payload) ~= "table" then
    return
  end
  local headers = handle:headers()
  for _, wanted in ipairs(handle:filterContext():get("lists")) do
    local found = wanted["issuer"] == payload["iss"] and payload or nil
    for _, step in ipairs(wanted["path"]) do
      found = type(found) == "table" and found[step] or nil
    end
    if found ~= nil then
      local text = joined(found)
      if text ~= nil and text ~= "" then
        headers:replace(wanted["header"], text)
      end
    end
  end
end
