package sandbox

import "html/template"

// customerPages are the pages that a customer sees. They work without JavaScript.
//
//nolint:gochecknoglobals // parsed once, never written
var customerPages = template.Must(template.New("customer").Parse(`
{{define "head"}}<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>{{.}}</title>
<style>
:root{color-scheme:light dark;--page:#f4f5f9;--card:#fff;--ink:#1a1f36;--quiet:#697386;--line:#e3e8ee;--main:#5851db;
--good:#0b6b3a;--good-back:#e7f6ee;--bad:#a41c3d;--bad-back:#fdecef}
@media (prefers-color-scheme:dark){:root{--page:#12141c;--card:#1c1f2b;--ink:#eceef6;--quiet:#9aa3b8;--line:#2f3445;
--main:#7a73ff;--good:#7fe0ae;--good-back:#12331f;--bad:#ff9db0;--bad-back:#3a1620}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:30rem;margin:0 auto;padding:2.5rem 1rem 4rem}
.card{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:1.75rem;
box-shadow:0 1px 2px #0000000d,0 12px 32px #0000000f}
.badge{display:inline-block;margin-bottom:1rem;padding:.1rem .6rem;border-radius:99px;background:#ffdd9a;color:#5b3b00;
font-size:.75rem;font-weight:600;letter-spacing:.03em}
h1{margin:0;font-size:2.1rem;line-height:1.2;letter-spacing:-.02em}
h1.small{font-size:1.35rem}
p{margin:.35rem 0}.quiet{color:var(--quiet)}
.note{margin:1.25rem 0 0;padding:.7rem .9rem;border-radius:9px}
.bad{background:var(--bad-back);color:var(--bad)}.good{background:var(--good-back);color:var(--good)}
fieldset{min-width:0;margin:1.4rem 0 0;padding:0;border:0}
legend{padding:0 0 .4rem;color:var(--quiet);font-size:.8rem;font-weight:600}
.choices{border:1px solid var(--line);border-radius:10px;overflow:hidden}
.choices>label{display:flex;gap:.7rem;align-items:center;padding:.6rem .8rem;cursor:pointer}
.choices>label+label{border-top:1px solid var(--line)}
.choices>label:hover{background:color-mix(in srgb,var(--main) 6%,transparent)}
.choices>label:has(input:checked){background:color-mix(in srgb,var(--main) 10%,transparent)}
.choices span{flex:1;white-space:nowrap}.choices em{color:var(--quiet);font-size:.85rem;font-style:normal;text-align:right}
input[type=radio]{accent-color:var(--main);width:1.05rem;height:1.05rem;margin:0}
select{flex:1;min-width:0;max-width:100%;padding:.4rem;border:1px solid var(--line);border-radius:7px;background:var(--card);
color:inherit;font:inherit;font-size:.85rem}
.button{display:block;width:100%;margin-top:1.5rem;padding:.8rem;border:0;border-radius:10px;background:var(--main);color:#fff;
font:inherit;font-weight:600;text-align:center;text-decoration:none;cursor:pointer}
.button:hover{filter:brightness(1.08)}
.button.second{margin-top:.7rem;background:transparent;color:inherit;box-shadow:inset 0 0 0 1px var(--line)}
:focus-visible{outline:3px solid color-mix(in srgb,var(--main) 45%,transparent);outline-offset:2px}
footer{margin-top:1.2rem;color:var(--quiet);font-size:.8rem;text-align:center;overflow-wrap:anywhere}
</style>
<main>{{end}}

{{define "foot"}}<footer>Stripe sandbox: no money moves here{{with .}}<br>{{.ID}}{{end}}</footer></main></html>
{{end}}

{{define "pay"}}{{template "head" (or .Intent.Amount "Save a payment method")}}
<div class="card"><div class="badge">TEST MODE</div>
<h1>{{if .IsSetup}}Save a payment method{{else}}{{.Intent.Amount}}{{end}}</h1>
{{with .Intent.Description}}<p class="quiet">{{.}}</p>{{end}}
{{with .Error}}<p class="note bad" role="alert">{{.}}</p>{{end}}
{{if .Open}}{{with .Intent.Action}}
<a class="button" href="{{.URL}}">Go on with {{with $.Intent.Later}}{{.Name}}{{else}}3-D Secure{{end}}</a>
<p class="quiet">or choose another payment method:</p>{{end}}
<form method="post"><input type="hidden" name="client_secret" value="{{.Intent.Secret}}">
<input type="hidden" name="return_url" value="{{.ReturnURL}}">
{{range $at, $group := .Groups}}<fieldset><legend>{{.Title}}</legend><div class="choices">
{{range $n, $choice := .Choices}}<label><input type="radio" name="payment_method" value="{{.Name}}" required
{{- if not (or $at $n)}} checked{{end}}><span>{{.Label}}</span><em>{{.Does}}</em></label>
{{end}}</div></fieldset>
{{end}}<fieldset><legend>Any other</legend><div class="choices">
<label><input type="radio" name="payment_method" value="other" required aria-label="Another test payment method">
<select name="other" aria-label="Name of a test payment method">{{range .Others}}<option>{{.}}</option>{{end}}</select></label>
</div></fieldset>
<button class="button">{{if .IsSetup}}Save{{else}}Pay {{.Intent.Amount}}{{end}}</button></form>
{{else}}<p class="note {{if eq .Outcome "failed"}}bad{{else}}good{{end}}" role="status">
{{- if eq .Intent.Status "succeeded"}}{{if .IsSetup}}The payment method is saved.{{else}}Paid. Thank you!{{end}}
{{- else if eq .Intent.Status "processing"}}Your bank is processing the payment. It may take days.
{{- else if eq .Intent.Status "requires_capture"}}Authorized. The money is on hold until the shop takes it.
{{- else}}This {{if .IsSetup}}setup{{else}}payment{{end}} is {{.Intent.Status}}.{{end}}</p>
{{end}}{{with .Back}}<a class="button second" href="{{.}}">Back to the shop</a>{{end}}</div>
{{template "foot" .Intent}}{{end}}

{{define "authenticate"}}{{template "head" "Test page"}}
<div class="card"><div class="badge">TEST MODE</div>
<h1 class="small">{{with .Intent.Later}}{{.Name}}{{else}}3-D Secure{{end}} test page</h1>
{{if .Intent.Action}}<p class="quiet">{{with .Intent.Later}}{{.Name}}{{else}}Your bank{{end}} asks whether it is you who
{{- if .IsSetup}} wants to save this card.{{else}} pays <strong>{{.Intent.Amount}}</strong>.{{end}}</p>
<form method="post"><input type="hidden" name="client_secret" value="{{.Intent.Secret}}">
<button class="button" name="result" value="approve">Approve</button>
<button class="button second" name="result" value="decline">Decline</button></form>
{{else}}<p>The {{if .IsSetup}}setup{{else}}payment{{end}} is <strong>{{.Intent.Status}}</strong>. You may close this page.</p>
{{end}}</div>
{{template "foot" .Intent}}{{end}}

{{define "nothing"}}{{template "head" "Not found"}}
<div class="card"><h1 class="small">There is nothing to pay here</h1>
<p class="quiet">No payment or setup intent has this id and client secret.</p></div>
{{template "foot" nil}}{{end}}
`))
