# An app's code as a shell script: one JSON object a line, in and out.
while IFS= read -r line; do
    case $line in
    '{"type":"discover"'*)
        echo '{"type":"discover","methods":["greet"]}'
        ;;
    '{"type":"rpc"'*)
        id=$(printf '%s' "$line" | sed 's/^{"type":"rpc","id":"\([^"]*\)".*/\1/')
        printf '{"type":"rpc_response","id":"%s","result":"%s"}\n' "$id" "$GREETING"
        ;;
    '{"type":"shutdown"'*)
        exit 0
        ;;
    esac
done
