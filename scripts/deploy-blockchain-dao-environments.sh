#!/bin/sh
# 部署区块链三环境 / Deploys one of the three environments: a menu, or the choice as the argument.
set -eu
cd "$(dirname "$0")/.."

deploy() {
    case $1 in
        1 | local) stack=local ;;
        2 | tencent) stack=tencent ;;
        3 | alibaba) stack=alibaba ;;
        0 | q | Q) exit 0 ;;
        *)
            echo "无效选项 / no such choice: $1 (1, 2, 3; 0 退出 / quits)" >&2
            return 1
            ;;
    esac
    exec make --no-print-directory up STACK="$stack"
}

if [ $# -gt 0 ]; then
    deploy "$1" || exit 2
fi
cat <<'MENU'
区块链服务部署 / Deploy the blockchain services
  1  本地开发环境     local    (this machine)
  2  腾讯云集成环境   tencent  (101.33.251.158)
  3  阿里云生产环境   alibaba  (47.115.168.107)
  0  退出 / quit
MENU
for _ in 1 2 3; do
    printf '请选择 / choose [0-3]: '
    if ! read -r choice; then
        printf '\n没有输入 / no input: give the choice as an argument, for example: %s 1\n' "$0" >&2
        exit 2
    fi
    deploy "$choice" || continue
done
echo "三次无效，已退出 / three wrong choices: nothing was deployed" >&2
exit 2
