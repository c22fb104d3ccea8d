#!/usr/bin/env bash
# The calls that localstripe's test script makes to endpoints which the sandbox has
# too, with what that script expects of them, in a table of our own. README.md beside
# this is what it prints, and a difference is a failure: WRITE=1 writes it anew.
# It needs a sandbox that nobody has used yet, at SANDBOX_URL.
set -euo pipefail

cd "$(dirname "$0")"
: "${SANDBOX_URL:?run ../run.sh localstripe}"

declare -A id=() # what {name} stands for in paths and forms
total=0 passed=0

# request METHOD PATH FORM [KEY]: $status and $body are the answer.
request() {
    local path=$2 form=$3 name answer

    for name in "${!id[@]}"; do
        path=${path//"{$name}"/${id[$name]}}
        form=${form//"{$name}"/${id[$name]}}
    done

    # A publishable key is sent as Stripe.js sends it: in the form.
    answer=$(curl -sg -X "$1" ${4:+-u "$4:"} "$SANDBOX_URL/v1/$path" ${form:+-d "$form"} -w '\n%{http_code}')
    status=${answer##*$'\n'} body=${answer%$'\n'*}
}

# meets WANT PATTERN: whether the answer has the status, 2xx or a number, and the
# pattern, or not the pattern that follows a "!". A refusal of what is not covered
# is never what was meant by a 404.
meets() {
    [[ $status == ${1/xx/[0-9][0-9]} && $body != *"The sandbox does not cover"* ]] || return 1

    case $2 in
    "") ;;
    !*) ! grep -qE -- "${2#!}" <<<"$body" ;;
    *) grep -qE -- "$2" <<<"$body" ;;
    esac
}

answered() {
    local message name
    message=$(grep -oP '"message": "\K([^"\\]|\\.)*' <<<"$body" || true)

    for name in "${!id[@]}"; do message=$(sed -E "s/\b${id[$name]}\b/{$name}/g" <<<"$message"); done

    echo "${message:+"$status: ${message%%. *}"}"
}

# call WHAT METHOD PATH FORM WANT [PATTERN [WHY]]: what localstripe's script calls and
# expects. WHY is for an answer that does not say itself why it differs.
call() {
    local verdict=passes

    request "$2" "$3" "$4" "${key-sk_test_12345}"
    total=$((total + 1))

    if meets "$5" "${6:-}"; then
        passed=$((passed + 1))
    else
        verdict=$(answered)
        verdict=${7:-${verdict:-"$status without \`${6:-}\`"}}
    fi

    echo "| $1 | \`$2 $3\` | $verdict |"
}

# here WHAT METHOD PATH FORM WANT [PATTERN]: how it is done here, where a call above
# differs. It has to hold.
here() {
    request "$2" "$3" "$4" "${key-sk_test_12345}"

    meets "$5" "${6:-}" || {
        echo "localstripe: $1: $status $body" >&2
        exit 1
    }

    echo "| … here: $1 | \`$2 $3${4:+ $4}\` | holds |"
}

# take NAME PATTERN [OTHERWISE]: remembers the first that matches in the answer.
take() {
    local found
    found=$(grep -oE -m1 -- "$2" <<<"$body" | head -n1 || true)
    id[$1]=${found:-${3:-$1_none}}
}

section() {
    printf '\n## %s\n\n| What | Call | Here |\n| --- | --- | --- |\n' "$1"
}

calls() {
    local source='source={card}&amount=1000&currency=usd'
    local visa='payment_method=pm_card_visa&amount=1000&currency=usd&payment_method_types[]=card&confirm=true'
    local number='card[number]=4242424242424242&card[exp_month]=12&card[exp_year]=2030&card[cvc]=123'
    local legacy="source[object]=card&${number//card/source}"
    local theirs='customer={cus}&payment_method={pm}&amount=1000&confirm=true&currency=usd'
    local counts='Stripe lists have no `total_count`'

    section Customers
    call 'create' POST customers 'email=james.robinson@example.com' 2xx cus_
    take cus 'cus_\w+'
    call 'change the description' POST 'customers/{cus}' 'description=Adding' 2xx Adding
    call 'set preferred locales' POST 'customers/{cus}' 'preferred_locales[]=fr-FR&preferred_locales[]=es-ES' 2xx es-ES
    call 'find by email' GET 'customers?email=james.robinson@example.com' '' 2xx '"email": "james.robinson@example.com",'
    call 'delete' DELETE 'customers/{cus}' '' 2xx
    call 'create with phone, address and tax id' POST customers \
        'email=foo@bar.com&phone=0102030405&address[city]=Ivry&address[country]=FR&tax_id_data[0][type]=eu_vat&tax_id_data[0][value]=FR12345678901' 2xx cus_
    call 'create without anything to pay with' POST customers 'email=joe.malvic@example.com' 2xx '"default_source": null'
    take cus 'cus_\w+'
    call 'add a tax id' POST 'customers/{cus}/tax_ids' 'type=eu_vat&value=DE123456789' 2xx txi_
    call 'expand what cannot be expanded' GET 'customers/{cus}?expand[]=subscriptions.data.items.data.tax_ids' '' 400
    key='' call 'make a token as Stripe.js does' POST tokens "key=pk_test_12345&$number" 2xx tok_
    take tok 'tok_\w+' tok_visa
    call 'add it as a source' POST 'customers/{cus}/sources' 'source={tok}' 2xx
    call 'add a card by its number' POST 'customers/{cus}/cards' "$legacy" 2xx card_
    take card 'card_\w+'
    call 'add one that fails when it is charged' POST 'customers/{cus}/cards' "${legacy/4242424242424242/4000000000000341}" 2xx card_
    take bad 'card_\w+'
    call 'list subscriptions' GET 'customers/{cus}/subscriptions' '' 2xx
    call 'count them' GET customers '' 2xx '"total_count": [0-9]+' "$counts"

    section 'Payment methods'
    call 'create by number' POST payment_methods "type=card&$number" 2xx pm_
    here 'create by token' POST payment_methods 'type=card&card[token]=tok_visa' 2xx pm_
    take pm 'pm_\w+' pm_card_visa
    call 'attach' POST 'payment_methods/{pm}/attach' 'customer={cus}' 2xx
    take pm 'pm_\w+' pm_card_visa
    call 'make it the default' POST 'customers/{cus}' 'invoice_settings[default_payment_method]={pm}' 2xx
    call 'expand the default' GET 'customers/{cus}?expand[]=invoice_settings.default_payment_method' '' 2xx '"object": "payment_method"'
    call "list a customer's" GET 'payment_methods?customer={cus}&type=card' '' 2xx '"object": "list"'
    call 'detach' POST 'payment_methods/{pm}/detach' '' 2xx
    call 'attach a card that is declined' POST 'payment_methods/pm_card_visa_chargeDeclined/attach' 'customer={cus}' 402
    call 'create another by number' POST payment_methods "type=card&$number" 2xx pm_
    here 'create another by token' POST payment_methods 'type=card&card[token]=tok_visa' 2xx pm_
    take pm 'pm_\w+' pm_card_visa
    call 'create a customer with it' POST customers 'payment_method={pm}' 2xx cus_
    take cus 'cus_\w+'
    call 'list what that customer has' GET 'payment_methods?customer={cus}&type=card' '' 2xx pm_
    take pm 'pm_\w+' pm_card_visa
    call 'create a customer with an unknown one' POST customers 'payment_method=pm_doesnotexist' 404

    section 'Setup intents'
    call 'create' POST setup_intents '' 2xx seti_
    take seti 'seti_[A-Za-z0-9]+'
    take seti_secret 'seti_\w+_secret_\w+'
    call 'confirm without a payment method' POST 'setup_intents/{seti}/confirm' '' 400
    call 'confirm with a test card' POST 'setup_intents/{seti}/confirm' 'payment_method=pm_card_visa' 2xx '"status": "succeeded"'
    here 'create one for cards' POST setup_intents 'payment_method_types[]=card' 2xx seti_
    take seti 'seti_[A-Za-z0-9]+'
    here 'confirm with a test card' POST 'setup_intents/{seti}/confirm' 'payment_method=pm_card_visa' 2xx '"status": "succeeded"'
    call 'cancel, although it has succeeded' POST 'setup_intents/{seti}/cancel' '' 2xx
    call 'create another' POST setup_intents '' 2xx seti_
    take seti 'seti_[A-Za-z0-9]+'
    take seti_secret 'seti_\w+_secret_\w+'
    call 'confirm with a card that is declined' POST 'setup_intents/{seti}/confirm' 'payment_method=pm_card_visa_chargeDeclined' 402
    here 'create another for cards' POST setup_intents 'payment_method_types[]=card' 2xx seti_
    take seti 'seti_[A-Za-z0-9]+'
    take seti_secret 'seti_\w+_secret_\w+'
    here 'confirm with a card that is declined' POST 'setup_intents/{seti}/confirm' 'payment_method=pm_card_visa_chargeDeclined' 402
    key='' call 'confirm as Stripe.js does, by number' POST 'setup_intents/{seti}/confirm' \
        "key=pk_test_12345&client_secret={seti_secret}&payment_method_data[type]=card&${number//card/payment_method_data[card]}" 2xx
    key='' call 'confirm as Stripe.js does, with a test card' POST 'setup_intents/{seti}/confirm' \
        'key=pk_test_12345&client_secret={seti_secret}&payment_method=pm_card_visa' 2xx '"status": "succeeded"'
    here 'create another for cards' POST setup_intents 'payment_method_types[]=card' 2xx seti_
    take seti 'seti_[A-Za-z0-9]+'
    take seti_secret 'seti_\w+_secret_\w+'
    key='' here 'confirm as Stripe.js does, with a test card' POST 'setup_intents/{seti}/confirm' \
        'key=pk_test_12345&client_secret={seti_secret}&payment_method=pm_card_visa' 2xx '"status": "succeeded"'

    section 'Payment intents'
    call 'pay at once' POST payment_intents "$theirs" 2xx '"captured": true,'
    here 'say card, and expand the charge' POST payment_intents "$visa&expand[]=latest_charge" 2xx '"captured": true,'
    here 'say card, and what that customer has' POST payment_intents "$theirs&payment_method_types[]=card" 2xx pi_
    call 'authorize' POST payment_intents "$theirs&capture_method=manual" 2xx '"status": "requires_capture"'
    here 'authorize' POST payment_intents "$visa&capture_method=manual" 2xx '"status": "requires_capture"'
    take pi 'pi_[A-Za-z0-9]+'
    call 'no event tells success yet' GET 'events?type=payment_intent.succeeded' '' 2xx "!\"id\": \"${id[pi]}\""
    call 'it waits to be captured' GET 'payment_intents/{pi}' '' 2xx '"status": "requires_capture"'
    call 'capture with a parameter that is none' POST 'payment_intents/{pi}/capture' 'amount=2000' 400
    call 'capture a part' POST 'payment_intents/{pi}/capture' 'amount_to_capture=800' 2xx '"status": "succeeded"'
    call 'an event tells success' GET 'events?type=payment_intent.succeeded' '' 2xx "\"id\": \"${id[pi]}\""
    call 'the rest is refunded' GET 'payment_intents/{pi}' '' 2xx '"amount_refunded": 200,' \
        'the charge is a part of an intent only when it is expanded'
    here 'expand the charge' GET 'payment_intents/{pi}?expand[]=latest_charge' '' 2xx '"amount_refunded": 200,'
    here 'authorize again' POST payment_intents "$visa&capture_method=manual" 2xx '"status": "requires_capture"'
    take pi 'pi_[A-Za-z0-9]+'
    call 'capture all' POST 'payment_intents/{pi}/capture' '' 2xx '"captured": true,' 'as above'
    call 'nothing is refunded' GET 'payment_intents/{pi}' '' 2xx '"amount_refunded": 0,' 'as above'
    here 'nothing is refunded' GET 'payment_intents/{pi}?expand[]=latest_charge' '' 2xx '"amount_refunded": 0,'
    call 'capture twice' POST 'payment_intents/{pi}/capture' '' 400
    call 'refund' POST refunds 'payment_intent={pi}' 2xx '"status": "succeeded"'
    call 'all is refunded' GET 'payment_intents/{pi}' '' 2xx '"amount_refunded": 1000,' 'as above'
    here 'all is refunded' GET 'payment_intents/{pi}?expand[]=latest_charge' '' 2xx '"amount_refunded": 1000,'
    call 'off-session without confirming' POST payment_intents 'amount=1000&currency=usd&off_session=true&confirm=false' 400
    call 'pay with a bad card' POST payment_intents "${theirs/pm/bad}" 402
    here 'pay with a bad card' POST payment_intents "${visa/pm_card_visa/pm_card_chargeCustomerFail}" 402
    here 'create with a bad card' POST payment_intents \
        'payment_method=pm_card_chargeCustomerFail&amount=1000&currency=usd&payment_method_types[]=card&confirm=false' 2xx
    take pi 'pi_[A-Za-z0-9]+'
    call 'confirm, and be declined' POST 'payment_intents/{pi}/confirm' '' 402
    call 'an event tells the failure' GET 'events?type=payment_intent.payment_failed' '' 2xx "\"id\": \"${id[pi]}\""
    call 'none tells success' GET 'events?type=payment_intent.succeeded' '' 2xx "!\"id\": \"${id[pi]}\""

    section 'Charges, refunds, balance'
    call 'charge a card' POST charges "$source" 2xx '"captured": true,'
    call 'authorize' POST charges "$source&capture=false" 2xx '"captured": false'
    here 'authorize' POST payment_intents "$visa&capture_method=manual" 2xx ch_
    take ch 'ch_\w+'
    take pi 'pi_[A-Za-z0-9]+'
    call 'it is not captured' GET 'charges/{ch}' '' 2xx '"captured": false,'
    call 'its status is succeeded nonetheless' GET 'charges/{ch}' '' 2xx '"status": "succeeded"'
    call 'it has no balance transaction' GET 'charges/{ch}' '' 2xx '!txn_'
    call 'capture too much' POST 'charges/{ch}/capture' 'amount=2000' 400
    call 'capture a part' POST 'charges/{ch}/capture' 'amount=800' 2xx '"captured": true,'
    here 'capture a part' POST 'payment_intents/{pi}/capture' 'amount_to_capture=800' 2xx
    call 'the rest is refunded' GET 'charges/{ch}' '' 2xx '"amount_refunded": 200,'
    call 'it has a balance transaction' GET 'charges/{ch}' '' 2xx txn_
    take txn 'txn_\w+'
    call 'which names its charge' GET 'balance_transactions/{txn}' '' 2xx "${id[ch]}"
    here 'pay at once' POST payment_intents "$visa" 2xx ch_
    take ch 'ch_\w+'
    call 'refund a charge' POST refunds 'charge={ch}' 2xx '"status": "succeeded"'
    call 'the refund has a balance transaction' GET 'refunds?charge={ch}' '' 2xx txn_
    call 'the charge says so' GET 'charges/{ch}' '' 2xx '"amount_refunded": 1000,'
    here 'a payment that fails' POST payment_intents "${visa/pm_card_visa/pm_card_chargeCustomerFail}" 402 ch_
    take ch 'ch_\w+'
    call 'the charge that failed' GET 'charges/{ch}' '' 2xx '"status": "failed"'
    call 'refund what failed' POST refunds 'charge={ch}' 400
    call 'count charges' GET charges '' 2xx '"total_count": [0-9]+' "$counts"
    call "list a customer's charges" GET 'charges?customer={cus}' '' 2xx
    call "list a customer's charges since" GET 'charges?customer={cus}&created[gt]=1588166306' '' 2xx
    call 'the balance' GET balance '' 2xx

    section Events
    call 'there are more than ten' GET events '' 2xx '^  "has_more": true'
    request GET 'events?limit=100' '' sk_test_12345
    id[evt]=$(grep -oE 'evt_\w+' <<<"$body" | tail -n1)
    call 'none is older than the oldest' GET 'events?starting_after={evt}' '' 2xx '^  "data": \[\]'
    call 'and there are no more' GET 'events?starting_after={evt}' '' 2xx '^  "has_more": false'
    call 'count them' GET events '' 2xx '^  "total_count": ' "$counts"
    call 'at most as old as now, and newer than ever' GET 'events?created[lte]=1588166306&created[gt]=9999999999' '' 2xx \
        '^  "total_count": 0' "$counts"
    here 'at most as old as now, and newer than ever' GET 'events?created[lte]=1588166306&created[gt]=9999999999' '' 2xx '"data": \[\]'

    section 'What the sandbox does not have, by the first call of each'
    call 'a source' POST sources 'type=sepa_debit&currency=eur&sepa_debit[iban]=DE89370400440532013000' 2xx src_
    call 'a plan' POST plans 'id=monthly&product[name]=Basic&amount=2500&currency=eur&interval=month' 2xx
    call 'a product' POST products 'name=T-shirt&type=good' 2xx
    call 'a coupon' POST coupons 'id=TENTH&percent_off=10&duration=once' 2xx
    call 'a tax rate' POST tax_rates 'display_name=VAT&percentage=20.0&inclusive=false' 2xx
    call 'a subscription' GET 'subscriptions?customer={cus}' '' 2xx
    call 'an invoice' GET 'invoices?customer={cus}' '' 2xx
    call 'an invoice item' POST invoiceitems 'customer={cus}&amount=-4900&currency=eur' 2xx
    call 'a payout' POST payouts 'amount=1100&currency=eur' 2xx po_
}

page() {
    cat <<END
# localstripe's calls at the sandbox

[localstripe](https://github.com/adrienverge/localstripe) is tested by a script of \`curl\` calls. \`run.sh\` makes those that
go to endpoints which the sandbox has too, with its expectations, and one call of each other resource. $passed of $total pass;
at localstripe all do. "… here" is how the same is done at the sandbox, and has to hold. \`make sandbox-clients\` fails when
this page is not what \`run.sh\` finds; \`WRITE=1\` writes it anew.
END
    cat "$work/calls"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
calls >"$work/calls"
page >"$work/page"

if [ -n "${WRITE:-}" ]; then cp "$work/page" README.md; fi

diff README.md "$work/page" || {
    echo "localstripe: the answers differ from README.md" >&2
    exit 1
}
