-- Where the claims of a checked token lead: see cases.py.

local NAME = "dragoman.cases"

local function meets(payload, claim)
  local found = payload
  for _, step in ipairs(claim["path"]) do
    found = type(found) == "table" and found[step] or nil
  end
  for _, value in ipairs(claim["values"]) do
    if found == value then
      return true
    end
    if type(found) == "table" then
      for _, entry in ipairs(found) do
        if entry == value then
          return true
        end
      end
    end
  end
  return false
end

local function chosen(payload, cases)
  for number, case in ipairs(cases) do
    local all = true
    for _, claim in ipairs(case["claims"]) do
      all = all and meets(payload, claim)
    end
    if all then
      return number
    end
  end
  return nil
end

function envoy_on_request(handle)
  local metadata = handle:streamInfo():dynamicMetadata()
  local held = metadata:get("envoy.filters.http.jwt_authn")
  local payload = held and held["payload"]
  if type(payload) ~= "table" then
    return
  end
  local context = handle:filterContext()
  local rule = context:get("rule")
  local number = chosen(payload, context:get("cases"))
  if number == nil then
    return
  end
  metadata:set(NAME, "case", rule .. "/" .. number)
  handle:clearRouteCache()
  local told, now = pcall(function() return handle:metadata():get("rule") end)
  if not told or now ~= rule then
    handle:respond(
      {[":status"] = "503", ["content-type"] = "application/json"},
      '{"error":"unavailable","message":"the configuration changed meanwhile: try again"}'
    )
  end
end
