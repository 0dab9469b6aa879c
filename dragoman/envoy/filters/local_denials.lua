-- What clients are told by limits that Envoy counts itself: see local_denials.py.

local function escaped(text)
  return (text:gsub("[^ -$&-~]", function(c) return string.format("%%%02X", string.byte(c)) end))
end

local TOLD = {"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"}

-- Each filter that counts adds its three headers, the limiter behind this one last. The one that denied
-- speaks, else the strictest: it has the fewest requests left, for the longest time.
local function strictest(headers, denied)
  local said = {}
  for at, name in ipairs(TOLD) do
    said[at] = {}
    for text in string.gmatch((headers:get(name) or "") .. ",", "%s*([^,]-)%s*,") do
      if not tonumber(text) then
        return
      end
      table.insert(said[at], text)
    end
  end
  local count = #said[1]
  if count < 2 or #said[2] ~= count or #said[3] ~= count then
    return
  end
  local best = count
  for at = 1, denied and 0 or count do
    local left = tonumber(said[2][at]) - tonumber(said[2][best])
    if left < 0 or left == 0 and tonumber(said[3][at]) > tonumber(said[3][best]) then
      best = at
    end
  end
  for at, name in ipairs(TOLD) do
    headers:replace(name, said[at][best])
  end
end

function envoy_on_response(handle)
  local headers = handle:headers()
  -- Where several count, a backend that says so is taken at its word: it could have answered the same.
  local denied = headers:get("x-dragoman-denied") == "local"
  -- The limiter's own header is the last one.
  local number = string.match(headers:get("x-ratelimit-limit") or "0", "%d+$")
  strictest(headers, denied)
  if not denied then
    return
  end
  headers:remove("x-dragoman-denied")
  local told = handle:metadata():get(number or "0")
  if told == nil then
    return
  end
  local about = handle:streamInfo():dynamicMetadata()
  about:set("envoy.filters.http.ratelimit", "limit", told["limit"])
  about:set("envoy.filters.http.ratelimit", "policy", told["policy"])
  local text = ""
  if told["before"] ~= nil then
    text = told["before"] .. (headers:get("retry-after") or "1") .. told["after"]
  end
  if not told["wait"] then
    headers:remove("retry-after")
  end
  if headers:get("grpc-status") ~= nil then
    headers:replace("grpc-status", told["grpc"])
    headers:replace("grpc-message", escaped(text))
    return
  end
  headers:replace(":status", told["status"])
  headers:replace("content-length", tostring(#text))
  if text == "" then
    headers:remove("content-type")
  end
  local body = handle:body()
  if body ~= nil then
    body:setBytes(text)
  end
end
